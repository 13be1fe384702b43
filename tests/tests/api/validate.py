"""Holds the document of the API against OpenAPI's own schema, and answers against the document."""

import json
import pathlib
import sys

import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

folder = pathlib.Path(sys.argv[1])
document = json.loads((folder / "openapi.json").read_text())
answers = json.loads((folder / "answers.json").read_text())

errors = [f"document: {error.message} at {list(error.absolute_path)}" for error in OpenAPIV31SpecValidator(document).iter_errors()]

operations = {}
for path, methods in document["paths"].items():
    for method, operation in methods.items():
        name = operation["operationId"]
        if name in operations:
            errors.append(f"{name} stands twice")
        operations[name] = operation

checked = 0
for name, answer in answers.items():
    responses = operations[name]["responses"]
    response = responses.get(str(answer["status"]))
    if response is None:
        errors.append(f"{name}: {answer['status']} is not in the document")
        continue
    kind = answer["kind"].split(";")[0]
    content = response.get("content", {})
    if (kind or content) and kind not in content:
        errors.append(f"{name}: content {kind!r} is not in the document")
        continue
    if kind == "application/json":
        # References lead into the document: it is the schema's surroundings.
        schema = {**content[kind]["schema"], "components": document["components"]}
        validator = jsonschema.Draft202012Validator(schema)
        for error in validator.iter_errors(answer["body"]):
            errors.append(f"{name}: {error.message[:300]} at {list(error.absolute_path)}")
        checked += 1

for error in errors:
    print(error, file=sys.stderr)
print(f"{len(operations)} operations, {len(answers)} answers, {checked} of them JSON that was checked")
sys.exit(1 if errors else 0)
