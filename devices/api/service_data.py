"""What the OpenAPI document says of a request for a service: a variant for each, with the data that it takes."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema

from devices.calls.methods import METHODS


class ServiceRequest(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """The schema of `AskSerializer` and those derived from it."""

    target_class = "devices.api.calls.AskSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, object]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call]
        variants = []
        for name in self.target.fields["method"].choices:
            service = METHODS[name]
            data = service.schema()
            fields = {**schema["properties"], "method": {"const": name}, "data": data}
            if service.secrets:
                fields["queue"] = {"const": False, "description": "A password does not wait."}
            required = [*schema["required"], *(["data"] if data.get("required") else [])]
            variants.append({"title": service.label, "type": "object", "properties": fields, "required": required})
        # drf-spectacular takes a body to be required if `required` is here.
        return {"description": schema["description"], "required": schema["required"], "oneOf": variants}
