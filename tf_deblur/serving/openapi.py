"""What the server answers, as an OpenAPI description."""

# A grey picture of 2x2 pixels, as a PNG file.
FILE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVQIHWNsaGhgYGBgbGhoYGBgAAAZowMDsWXKdgAA"
    "AABJRU5ErkJggg=="
)
STRING = {"type": "string"}
ANYTHING: dict = {}
WHICH = {"": [], "/versions/{version}": ["version"]}
NOT_FOUND = ("404", "No such model or version")
FOREIGN = ("403", "Asked by another name, or by a page of elsewhere: see --allowed_hosts, --cors")
AT_PREDICT = [
    NOT_FOUND,
    ("408", "The body came too slowly; the connection ends"),
    ("413", "The body is larger than --max_request_mb; the connection ends"),
    ("429", "More is under way than --queue_size or --queue_mb allow; see Retry-After"),
    ("500", "The server, or the graph, is at fault"),
    ("501", "A type of number that JSON does not give"),
    ("503", "The server is stopping; see Retry-After"),
    ("504", "It took longer than --rest_api_timeout_in_ms"),
]


def describe(models: list[str], metrics_path: str) -> dict:
    """The description of a server, as JSON can hold it.

    Args:
      models: the names of those that it serves.
      metrics_path: where its metrics are; empty for nowhere.
    """
    paths = {}
    for place, parameters in WHICH.items():
        address = f"/v1/models/{{model}}{place}"
        inputs = [PARAMETERS[name] for name in parameters]
        inputs.insert(0, PARAMETERS["model"] | {"schema": {"enum": models}})
        paths[address] = {"parameters": inputs, "get": _get("Which versions there are", "Status")}
        paths[f"{address}/metadata"] = {
            "parameters": inputs,
            "get": _get("The signatures of a version", "Metadata"),
        }
        paths[f"{address}:predict"] = {"parameters": inputs, "post": PREDICT}
    for address, (summary, kind) in PAGES.items():
        answers = {"200": _body(summary, kind, STRING if kind == "text/html" else ANYTHING)}
        paths[address] = {"get": {"summary": summary, "responses": answers}}
    if metrics_path:
        told = "Counters and latencies, for Prometheus"
        answers = {"200": _body(told, "text/plain")}
        paths[metrics_path] = {"get": {"summary": told, "responses": answers}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "tf-deblur serve", "version": "v1", "description": ABOUT},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _body(told, kind="application/json", schema=STRING):
    return {"description": told, "content": {kind: {"schema": schema}}}


def _errors(*told):
    """Replies beside the good one."""
    told = [("400", "`error` says what is wrong"), FOREIGN, *told]
    return {code: _body(words, schema=_schema("Error")) for code, words in told}


def _get(told, schema):
    good = {"200": _body(told, schema=_schema(schema))}
    return {"summary": told, "responses": good | _errors(NOT_FOUND)}


def _schema(name):
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**members):
    """The schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": members,
        "required": [*members],
        "additionalProperties": False,
    }


def _list(items):
    return {"type": "array", "items": items}


def _each(schema):
    """The schema of an object whose members have names of their own."""
    return {"type": "object", "additionalProperties": schema}


def _question(key, schema, told):
    """The schema of a predict request; members that it does not know are left alone."""
    members = {"signature_name": STRING, key: schema | {"description": told}}
    return {"type": "object", "properties": members, "required": [key]}


ABOUT = (
    "TensorFlow Serving's REST API. What `tf-deblur export` writes has three signatures: "
    "`serving_default` takes JPEG or PNG files as `image_bytes` and gives PNG files, "
    "`restored_bytes`; `uint8` and `float32` take numbers, [n, height, width, 3] of 0 to 255 or "
    "of 0 to 1, as `image` and give the same as `restored`."
)
PAGES = {
    "/": ("The page for photographs", "text/html"),
    "/openapi.json": ("This description", "application/json"),
    "/healthz": ("Whether every model has a version that answers", "application/json"),
}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
PARAMETERS = {
    name: {"name": name, "in": "path", "required": True, "schema": schema}
    for name, schema in {"model": STRING, "version": NUMBER}.items()
}
SCHEMAS = {
    "Error": _object(error=STRING),
    "Status": _object(
        model_version_status=_list(_object(version=STRING, state=STRING, status=_each(STRING)))
    ),
    "Metadata": _object(
        model_spec=_each(STRING),
        metadata=_object(signature_def=_object(signature_def=_each(_each(ANYTHING)))),
    ),
    "Value": {
        "description": 'A number, a string, a file as {"b64": "…"}, inputs by name, or lists',
        "anyOf": [
            {"type": ["number", "boolean", "string"]},
            _object(b64={"type": "string", "contentEncoding": "base64"}),
            _list(_schema("Value")),
            _each(_schema("Value")),
        ],
    },
    "Rows": _question(
        "instances", _list(_schema("Value")) | {"minItems": 1}, "A picture each, of one input"
    ),
    "Columns": _question("inputs", _schema("Value"), "All of an input, or of inputs by name"),
}
EXAMPLES = {
    "file": {"instances": [{"b64": FILE}]},
    "numbers": {"signature_name": "uint8", "instances": [[[[200, 100, 50], [190, 90, 40]]]]},
}
PREDICT = {
    "summary": "Restores pictures",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_schema("Rows"), _schema("Columns")]},
                "examples": {name: {"value": value} for name, value in EXAMPLES.items()},
            }
        },
    },
    "responses": {
        "200": _body(
            "The only output's values, or outputs by name: in rows where rows were asked",
            schema={"oneOf": [_object(predictions=_list(ANYTHING)), _object(outputs=ANYTHING)]},
        )
    }
    | _errors(*AT_PREDICT),
}
