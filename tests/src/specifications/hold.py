"""Holds a log of requests and answers of a control plane against Microsoft's published descriptions.
usage: hold.py TOOLS LOG [others]; TOOLS is the folder of `validate_arm.py`, with the descriptions in ../specs. Programs of
others may speak newer versions than those: of theirs, bodies are held against the schemas alone."""
import functools, json, re, sys
from urllib.parse import parse_qs, unquote

tools, log = sys.argv[1:3]
of_others = sys.argv[3:] == ["others"]
sys.path.insert(0, tools)
import validate_arm as arm

# What the region's own addresses of pages and operations bring along; in no description.
OF_THE_REGION = {"$skiptoken", "$skipToken"}


def resolved(path, one):
    while "$ref" in one:
        path, one = arm.deref(path, one["$ref"])
    return path, one


@functools.lru_cache(None)
def described(path, template):
    """The version of a description, and what it says of each operation of a path: parameters with those of the path."""
    whole = arm.load(path)
    of_path = {**whole.get("paths", {}), **whole.get("x-ms-paths", {})}[template]
    return whole["info"]["version"], of_path.get("parameters", [])


def undeclared(path, schema, body, at=""):
    """Members that no schema names: such a schema allows them, and Azure ignores or refuses them."""
    path, schema = resolved(path, schema)
    if isinstance(body, list):
        for number, item in enumerate(body):
            yield from undeclared(path, schema.get("items", {}), item, f"{at}/{number}")
    if not isinstance(body, dict):
        return
    named, more = {}, None
    parts = [(path, schema)]
    while parts:
        where, part = parts.pop()
        where, part = resolved(where, part)
        parts += [(where, one) for one in part.get("allOf", [])]
        named.update({name: (where, one) for name, one in part.get("properties", {}).items()})
        more = part.get("additionalProperties", more)
        if part.get("type") == "object" and "properties" not in part and "allOf" not in part and more is None:
            more = True
    for name, value in body.items():
        if name in named:
            yield from undeclared(*named[name], value, f"{at}/{name}")
        elif not more:
            yield f"{at}/{name}: no description names it"


def parameters(path, template, operation, entry):
    """What is wrong with the parameters of path and query."""
    version, of_path = described(path, template)
    all_of = [resolved(path, one)[1] for one in of_path + operation.get("parameters", [])]
    query = parse_qs(entry["query"], keep_blank_values=True)
    if query.get("api-version") != [version]:
        yield f"asked by version {query.get('api-version')}, described in {version}"
    in_query = {one["name"]: one for one in all_of if one["in"] == "query"}
    for name in set(query) - set(in_query) - OF_THE_REGION:
        yield f"asked with «{name}», which it does not take"
    for name, one in in_query.items():
        if one.get("required") and name not in query:
            yield f"asked without «{name}»"
    names = re.findall(r"\{([^}]+)\}", template)
    shape = re.sub(r"\\\{[^}]+\\\}", "([^/]+)", re.escape(template))
    values = dict(zip(names, map(unquote, re.match(f"^{shape}/?$", entry["path"], re.I).groups())))
    values.update({name: given[0] for name, given in query.items()})
    for one in all_of:
        value = values.get(one["name"])
        if value is None or one["in"] not in ("path", "query"):
            continue
        long_enough = one.get("minLength", 0) <= len(value) <= one.get("maxLength", len(value))
        if not long_enough or not re.search(one.get("pattern", ""), value):
            yield f"asked with {one['name']}={value}, which is none"
        strict = not one.get("x-ms-enum", {}).get("modelAsString")
        if strict and "enum" in one and value not in one["enum"] and one["name"] != "api-version":
            yield f"asked with {one['name']}={value}, which is none of {one['enum']}"


def asked(path, template, operation, entry):
    """What is wrong with a request."""
    if not of_others:
        yield from parameters(path, template, operation, entry)
    wanted, body = arm.bodyschema(path, operation), entry["body"]
    if body is None:
        if wanted and wanted.get("required"):
            yield "asked without a body"
    elif not wanted:
        yield "asked with a body, which it does not take"
    else:
        yield from (f"asked {error}" for error in arm.check(path, wanted["schema"], body))
        if not of_others:
            yield from (f"asked {error}" for error in undeclared(path, wanted["schema"], body))


def answered(path, operation, entry):
    """What is wrong with its answer."""
    answers, status = operation["responses"], entry["status"]
    answer = answers.get(str(status))
    if answer is None and status < 400:
        yield f"status {status} is none of {list(answers)}"
    path, answer = resolved(path, answer or answers.get("default", {}))
    if "schema" in answer and entry["answer"] is not None:
        yield from (f"answered {error}" for error in arm.check(path, answer["schema"], entry["answer"]))


def main():
    checked, problems, unknown, seen = 0, 0, set(), set()
    for entry in json.load(open(log)):
        # Where an operation is looked at is for the region to say.
        if "/operations/" in entry["path"].lower() or "/operationresults/" in entry["path"].lower():
            continue
        found = [
            (path, template, operation) for path, template, method, operation, shape in arm.OPS
            if method == entry["method"] and shape.match(entry["path"])
        ]
        if not found:
            unknown.add((entry["method"], re.sub(r"^/subscriptions/[^/]+(/resourceGroups/[^/]+)?", "", entry["path"])))
            continue
        path, template, operation = found[0]
        wrong = list(asked(path, template, operation, entry))
        # What failed on the way has no shape.
        wrong += answered(path, operation, entry) if entry["status"] < 500 else []
        checked += 1
        problems += len(wrong)
        seen.add(operation["operationId"])
        for one in wrong:
            print("wrong:", entry["method"], operation["operationId"], entry["status"], one)
    for method, path in sorted(unknown):
        print("not described:", method, path)
    print("operations", *sorted(seen))
    print("checked", checked, "problems", problems)


main()
