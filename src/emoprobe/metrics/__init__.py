"""How far a predicted emotion distribution is from the votes of human raters: functions, classes, floors."""
