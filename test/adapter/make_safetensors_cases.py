"""Writes safetensors-cases.json: headers, and whether the library safetensors takes them.

    python test/adapter/make_safetensors_cases.py

Needs Python with safetensors. The file is committed, so tests need neither.
"""

import json
import pathlib
import struct

import safetensors

GOOD = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def entry(dtype="F32", shape="[2]", offsets="[0,8]", extra=""):
    return '{"a":{"dtype":%s,"shape":%s,"data_offsets":%s%s}}' % (json.dumps(dtype), shape, offsets, extra)


HEADERS = [
    ("plain", "{%s}" % GOOD, 8),
    ("no tensor", "{}", 0),
    ("metadata null", '{"__metadata__":null,%s}' % GOOD, 8),
    ("metadata empty", '{"__metadata__":{},%s}' % GOOD, 8),
    ("metadata with a number", '{"__metadata__":{"a":1},%s}' % GOOD, 8),
    ("metadata with null", '{"__metadata__":{"a":null},%s}' % GOOD, 8),
    ("metadata a list", '{"__metadata__":[],%s}' % GOOD, 8),
    ("metadata twice", '{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"},%s}' % GOOD, 8),
    ("metadata twice, once null", '{"__metadata__":null,"__metadata__":{"a":"2"},%s}' % GOOD, 8),
    ("a key of the metadata twice", '{"__metadata__":{"a":"1","a":"2"},%s}' % GOOD, 8),
    ("a name twice", "{%s,%s}" % (GOOD, GOOD), 8),
    ("a name twice, the first elsewhere", '{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]},%s}' % GOOD, 8),
    ("a field twice", entry(extra=',"shape":[2]'), 8),
    ("an unknown field", entry(extra=',"stride":1'), 8),
    ("an unknown field twice", entry(extra=',"x":1,"x":2'), 8),
    ("an unknown field with a fraction", entry(extra=',"x":[-0.5e-3,true,false,null,{}]'), 8),
    ("a nested unknown field", entry(extra=',"x":' + "[" * 100 + "]" * 100), 8),
    ("a deeply nested unknown field", entry(extra=',"x":' + "[" * 200 + "]" * 200), 8),
    ("an exponent for a side", entry(shape="[2e0]"), 8),
    ("a fraction for a side", entry(shape="[2.0]"), 8),
    ("an exponent for an offset", entry(offsets="[0,8e0]"), 8),
    ("minus zero", entry(shape="[-0]", offsets="[0,0]"), 0),
    ("a leading zero", entry(shape="[02]"), 8),
    ("a text for a side", entry(shape='["2"]'), 8),
    ("half a surrogate pair in a name", '{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ("half a surrogate pair in the metadata", '{"__metadata__":{"a":"\\udc00"},%s}' % GOOD, 8),
    ("half a surrogate pair in an unknown field", entry(extra=',"x":"\\ud800"'), 8),
    ("a surrogate pair", '{"\\ud83d\\ude00":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ("an escaped quote", '{"a\\"\\\\":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ("an escaped NUL in a name", '{"a\\u0000":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ("a control character", '{"__metadata__":{"a":"\x01"},%s}' % GOOD, 8),
    ("sides that overflow to nothing", entry(shape="[4294967296,4294967296]", offsets="[0,0]"), 0),
    ("sides that overflow before a 0", entry(shape="[4503599627370496,4503599627370496,0]", offsets="[0,0]"), 0),
    ("a 0 before large sides", entry(shape="[0,4503599627370496,4503599627370496]", offsets="[0,0]"), 0),
    ("bits that overflow", entry("F64", "[2305843009213693952]", "[0,0]"), 0),
    ("spaces around", "  {%s}\n\t " % GOOD, 8),
    ("a byte-order mark", "\ufeff{%s}" % GOOD, 8),
    ("a comma too many", "{%s,}" % GOOD, 8),
    ("something behind", "{%s} x" % GOOD, 8),
    ("no shape", '{"a":{"dtype":"F32","data_offsets":[0,8]}}', 8),
    ("no dtype", entry(None), 8),
    ("three offsets", entry(offsets="[0,8,8]"), 8),
    ("bytes behind the last tensor", "{%s}" % GOOD, 9),
    ("a gap", entry(shape="[1]", offsets="[4,8]"), 8),
    ("nothing inside a tensor", '{%s,"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}' % GOOD, 8),
    ("nothing behind a tensor", '{"b":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},%s}' % GOOD, 8),
    ("a sub-byte tensor with half a byte at its end", entry("F4", "[3]", "[0,2]"), 2),
    # What Loradrop refuses although the library takes it: see the test.
    ("an empty name", '{"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ("nine axes", entry(shape="[1,1,1,1,1,1,1,1,2]"), 8),
    ("a tensor as a list", '{"a":["F32",[2],[0,8]]}', 8),
    ("a side beyond exact numbers", entry(shape="[0,18446744073709551615]", offsets="[0,0]"), 0),
]

DTYPES = (
    "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64 F4 "
    "F6_E2M3 F6_E3M2 F8 f32 F4_E2M1 C128 I4 U4 F8_E4M3FN constructor"
).split()


def taken(header, count):
    encoded = header.encode()
    try:
        tensors = safetensors.deserialize(struct.pack("<Q", len(encoded)) + encoded + bytes(count))
    except safetensors.SafetensorError:
        return None
    return [[name, tensor["dtype"], tensor["shape"]] for name, tensor in tensors]


def main():
    cases = [{"label": label, "header": header, "dataBytes": count} for label, header, count in HEADERS]
    for dtype in DTYPES:
        sizes = [size for size in (1, 2, 4, 6, 8, 16, 32, 64) if taken(entry(dtype, "[8]", f"[0,{size}]"), size)]
        # Where no size fits, the dtype is unknown.
        size = sizes[0] if sizes else 8
        cases.append({"label": f"dtype {dtype}", "header": entry(dtype, "[8]", f"[0,{size}]"), "dataBytes": size})
    for case in cases:
        case["tensors"] = taken(case["header"], case["dataBytes"])
    written = {"safetensors": safetensors.__version__, "cases": cases}
    pathlib.Path(__file__).with_name("safetensors-cases.json").write_text(json.dumps(written, indent=1) + "\n")


main()
