"""Digests of the sound of CREMA-D's official release, by actor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# SHA-256 of the lines "NAME SHA256\n" of all clips of an actor, by name; the hashes of the clips are those by which the
# official repository keeps them (git-lfs). First 16 digits.
_DIGESTS = """
    1001:704e24dc28c8b325 1002:7c0fb25ac4fbd2fd 1003:feb08b4e536387f9 1004:822409a0de79972e 1005:384dda37238ec6fe
    1006:a31df4b41fa6a945 1007:121753a0a041484a 1008:2a4cc9c8527a2bbc 1009:2a089da7a20ae3e5 1010:8495cfe19589d5b1
    1011:236b3094ee573e89 1012:2ab48ec181f0f47d 1013:a81c67ad7a4b4dd2 1014:2d1563350266f848 1015:c89b93d151bc1035
    1016:db90ffe565f38473 1017:3955ad1ae40ca6fb 1018:dcd7f5434f257608 1019:46aa3505eb61a175 1020:c7ce779ba578e6dc
    1021:42c5079e65dbe16e 1022:15282365714d27b6 1023:376180f90d6a9612 1024:b8e9a2bba22e69d7 1025:21794fb988e509e5
    1026:88656bb78f555d49 1027:f59e82a762fb1108 1028:a297dc9032c0ae9c 1029:7881528ca3a7fa95 1030:d181d4a5d4028411
    1031:533c2a2322a97a1c 1032:dc6fcbe93b058008 1033:c38d8705e42c941e 1034:13bb8e87aa0ba7de 1035:7d43784db89fe62f
    1036:fcdae469a46133b2 1037:9baa9ab3a0febf00 1038:733f7e474ae42141 1039:812b51beb808d2a6 1040:03009a0cf148b079
    1041:91539b044729cc7a 1042:e7505b1c7f9a6d6f 1043:9ca37c411eecce37 1044:00885c7b2bf56875 1045:053a9d28a91f3a73
    1046:b8899f0be1b85f9c 1047:b85d3ec098252b57 1048:e800a5138d916a7c 1049:81ed90ac80777600 1050:82642e17ac399baa
    1051:972e3d9d10b66a6e 1052:4089c8e57f91b476 1053:20363077e4130061 1054:7f8dbd1f6c807e45 1055:1636149b17f37832
    1056:ddd65aeff3545f6f 1057:e40a8175f0e8babc 1058:2848907414908559 1059:d30b5cd067026834 1060:9143eb50ce7a4638
    1061:e9d5c9d34c787c70 1062:35d3ecbd36a62bc7 1063:25e3d5f736c03a16 1064:28d9b9df541591af 1065:e803928f3858ee74
    1066:28de3d2eb57572d3 1067:981ebd88473ef773 1068:47799eeba10f803e 1069:70c73a4052e17333 1070:149223500fafe77d
    1071:eea97b9e3a6f7663 1072:074b3b235e996cc3 1073:6ccdc674eb2d30ec 1074:751f41f3596b2c20 1075:fed2ba972dacef2e
    1076:f786c0620c63a31a 1077:22ce7024382efff8 1078:0bc2c65fcca57fd8 1079:c3d458bfd74a8e5a 1080:c930d24f91eea96c
    1081:49cf84454e57e0c6 1082:bfadab15a1798a4e 1083:7bb1a00511ce095e 1084:767120ef6894bf04 1085:631562dd2ee854ba
    1086:1733566135b823e1 1087:8c3c2e4bd529b47b 1088:30157b9e639520da 1089:bdd3e6dc777db36c 1090:ca5f2f91b2c7b36a
    1091:87bf297415a03999
"""
DIGESTS = dict(pair.split(":") for pair in _DIGESTS.split())
CLIPS = 82  # per actor; five lack some
FEWER_CLIPS = {"1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81}


def digest(hashes: Mapping[str, str]) -> str:
    """The digest of clips, ``{file name without suffix: SHA-256 in hexadecimal digits}``."""
    lines = "".join(f"{name} {value.lower()}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def check_sound(root: Path, hashes: Mapping[str, str]) -> list[str]:
    """Compare sound with the official release.

    Args:
        root: Top folder of the corpus, for the messages.
        hashes: File name without suffix -> SHA-256 of the file in hexadecimal digits. Actors of whom clips are missing
            are passed over.

    Returns:
        One message per actor whose sound differs. There is one digest per actor, so which clip differs stays unknown.
    """
    by_actor: dict[str, dict[str, str]] = {}
    for name, value in hashes.items():
        by_actor.setdefault(name[:4], {})[name] = value
    return [
        f"actor {actor}: the sound differs from the official release (some of the {len(clips)} files "
        f"{root / 'AudioWAV' / actor}_*.wav)"
        for actor, clips in sorted(by_actor.items())
        if actor in DIGESTS and len(clips) >= FEWER_CLIPS.get(actor, CLIPS) and digest(clips) != DIGESTS[actor]
    ]
