"""Holds a log of requests and answers against Microsoft's published descriptions.
usage: validate.py SPECS LOG; SPECS is the folder that holds `specification`, with `validate_arm.py` in ../tools."""
import json, sys
specs, log = sys.argv[1:3]
sys.path.insert(0, f"{specs}/../tools")
import validate_arm as arm

checked = problems = 0
for entry in json.load(open(log)):
    if entry["status"] >= 500 or "/operations/" in entry["path"] or "/operationresults/" in entry["path"].lower():
        continue
    found = arm.find(entry["method"], entry["path"])
    if not found:
        print("not described:", entry["method"], entry["path"])
        continue
    path, operation = found[0]
    asked = arm.bodyschema(path, operation)
    wrong = []
    if asked and entry["body"] is not None:
        wrong += [f"asked {error}" for error in arm.check(path, asked["schema"], entry["body"])]
    answers = operation["responses"]
    answer = answers.get(str(entry["status"]))
    if answer is None and entry["status"] < 400:
        wrong.append(f"status {entry['status']} is none of {list(answers)}")
    answer = answer or answers.get("default", {})
    if "$ref" in answer:
        path, answer = arm.deref(path, answer["$ref"])
    if "schema" in answer and entry["answer"] is not None:
        wrong += [f"answered {error}" for error in arm.check(path, answer["schema"], entry["answer"])]
    checked += 1
    problems += len(wrong)
    for one in wrong:
        print(entry["method"], operation["operationId"], entry["status"], one)
print("checked", checked, "problems", problems)
sys.exit(problems > 0)
