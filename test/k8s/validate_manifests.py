"""Checks manifests strictly: fields that a schema does not have are refused.

Standard input: JSON, {"releases": ["1.37", ...], "sets": {NAME: YAML text, ...}}. Arguments: files with definitions of
custom resources. Standard output: JSON, {"checked": how many checks, "problems": [text, ...]}.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml


def strict(schema):
    """A schema of a custom resource as JSON Schema that refuses unknown fields, as the API server does with `strict`."""
    if not isinstance(schema, dict):
        return schema
    result = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "format"}
    if "properties" in schema:
        result["properties"] = {name: strict(inner) for name, inner in schema["properties"].items()}
    if "(?i)" in schema.get("pattern", ""):
        # Go takes such a flag anywhere, Python at the start alone.
        result["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    for key in ("items", "additionalProperties", "not"):
        if key in schema:
            result[key] = strict(schema[key])
    if "properties" in schema and "additionalProperties" not in schema:
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable"):
        result = {"anyOf": [result, {"type": "null"}]}
    return result


def definitions(paths):
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            definition = yaml.safe_load(file)
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def main():
    request = json.load(sys.stdin)
    custom = definitions(sys.argv[1:])
    problems, checked, seen = [], 0, set()
    for name, text in request["sets"].items():
        for document in yaml.safe_load_all(text):
            what = f"{name}: {document['kind']} {document['metadata']['name']}"
            schema = custom.get((document["apiVersion"], document["kind"]))
            for release in ["-"] if schema else request["releases"]:
                # Overlays have much in common.
                key = (release, json.dumps(document, sort_keys=True, default=str))
                if key in seen:
                    continue
                seen.add(key)
                checked += 1
                try:
                    if schema:
                        jsonschema.validate(document, schema)
                    else:
                        kubernetes_validate.validate(document, release, strict=True)
                except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                    place = "/".join(str(part) for part in error.path)
                    problems.append(f"{what} ({release}): {place}: {error.message[:300]}")
                except Exception as error:  # pylint: disable=broad-except
                    problems.append(f"{what} ({release}): {type(error).__name__} {error}")
    json.dump({"checked": checked, "problems": problems}, sys.stdout)


main()
