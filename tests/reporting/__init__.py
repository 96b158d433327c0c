"""What the tests of the report share: run folders made by hand, and a browser."""
