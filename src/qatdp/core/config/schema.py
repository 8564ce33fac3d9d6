"""The configuration's JSON schema (2020-12), for editors and for `qatdp config schema`.

core/config/model.py is what decides; tests hold the two together.
"""

from typing import Any

from qatdp.core.config.model import (
    DEFAULT_VARIABLES,
    DOMAIN,
    NAME,
    RESERVED_PREFIXES,
    VERSION,
    AddressVariable,
    DeviceNode,
    Policy,
)
from qatdp.core.config.spec import WHOLE, Scope, When
from qatdp.core.config.spec_parser import STAGED_KEYS, TARGET_KEYS
from qatdp.core.model.pci import SHAPE
from qatdp.core.model.qat import FAMILIES, GENERIC, VFIO_DRIVERS, Service

Schema = dict[str, Any]


def config_schema() -> Schema:
    """Return the schema as plain values, ready for JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "qatdp configuration",
        **_object(
            {
                "version": {"const": VERSION},
                "resources": {
                    "type": "array",
                    "items": _resource(),
                    "description": "the first entry that selects a VF names its resource; entries of one name are one",
                },
                "defaultResources": {
                    "type": "boolean",
                    "description": "VFs that no entry selects get the default names; without entries this is true",
                },
                "hostReserved": {"type": "array", "items": _host_share()},
                "vfioDriver": {"enum": sorted(VFIO_DRIVERS), "default": "vfio-pci"},
                "allowNoIommu": {
                    "type": "boolean",
                    "default": False,
                    "description": "offer VFs in VFIO's no-IOMMU mode: their pods can reach all memory of the host",
                },
                "provision": {
                    "type": "array",
                    "items": _spec(),
                    "description": "what PFs should be; the first entry that is about this node holds",
                },
            },
            required=["version"],
        ),
    }


def _object(properties: Schema, *, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _some(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _resource() -> Schema:
    count: Schema = {"type": "integer", "minimum": 0}
    return _object(
        {
            "name": {
                "type": "string",
                "pattern": f"^{NAME.pattern}$",
                "description": f"the name behind {DOMAIN}/",
            },
            "services": _services(),
            "pfs": _some(_address()),
            "numaNodes": _some(count),
            "families": _some({"enum": [family.name for family in FAMILIES]}),
            "drivers": _some({"enum": sorted(VFIO_DRIVERS)}),
            "limit": {**count, "description": "at most so many VFs of this node"},
            "policy": {"enum": list(Policy), "default": Policy.LOCAL},
            "deviceNode": {"enum": list(DeviceNode), "default": DeviceNode.GROUP},
            "qatPolicy": {"type": "integer", "minimum": 1, "description": "sets QAT_POLICY, for qatlib"},
            "env": {
                "type": "object",
                "propertyNames": {"pattern": f"^(?!QAT|{'|'.join(RESERVED_PREFIXES)})[A-Za-z_][A-Za-z0-9_]*$"},
                "additionalProperties": {"type": "string"},
            },
            "addressVariables": {
                "type": "array",
                "items": {"enum": list(AddressVariable)},
                "default": sorted(DEFAULT_VARIABLES),
                "description": "which variables carry the addresses; pcidevice is always there",
            },
        },
        required=["name"],
    )


def _service_set() -> Schema:
    return {"anyOf": [_some({"enum": list(Service)}), {"const": GENERIC}]}


def _services() -> Schema:
    return {
        "anyOf": [*_service_set()["anyOf"], _some(_service_set())],
        "description": "one set of services, or a list of sets of which any will do; generic: none known",
    }


def _host_share() -> Schema:
    vfs = {"type": "integer", "minimum": 1, "description": "the first so many VFs of each PF"}
    return _object({"vfs": vfs, "pfs": _some(_address())}, required=["vfs"])


def _spec() -> Schema:
    spec = _object(
        {
            **_target()["properties"],
            "current": _target(),
            "next": _target(),
            "rollout": _rollout(),
            "nodes": _some(
                {"type": "string", "minLength": 1, "description": "a node's name, or a pattern such as qat-*"}
            ),
            "excludePfs": _some(_address()),
            "when": {"enum": list(When), "default": When.IDLE, "description": "of run --provision: what of PFs in use"},
            "maxUnavailable": {
                "type": "integer",
                "minimum": 1,
                "default": 1,
                "description": "PFs that may be away at a time",
            },
            "minAvailable": {
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 0},
                "description": "by the name of a resource: VFs that must stay while others are away",
            },
            "cordonTimeoutSeconds": {
                "type": "integer",
                "minimum": 1,
                "description": "seconds after which a cordoned PF that pods keep is uncordoned",
            },
        },
        required=[],
    )
    cordons = {"properties": {"when": {"const": When.CORDON}}, "required": ["when"]}
    staged = {"required": list(STAGED_KEYS), **_without(*TARGET_KEYS)}
    return {
        **spec,
        "oneOf": [{"required": ["split"], **_without(*STAGED_KEYS)}, staged],
        "dependentSchemas": {"cordonTimeoutSeconds": cordons},
    }


def _without(*keys: str) -> Schema:
    return {"not": {"anyOf": [{"required": [key]} for key in keys]}}


def _target() -> Schema:
    return _object(
        {
            "split": {"type": "array", "items": _part(), "minItems": 1},
            "scope": {"enum": list(Scope), "default": Scope.NODE, "description": "of what shares and counts are"},
            "autoReset": {"type": "boolean"},
        },
        required=["split"],
    )


def _rollout() -> Schema:
    percent = {"type": "number", "minimum": 0, "maximum": 100, "description": "of all nodes: so many take what is next"}
    salt = {"type": "string", "minLength": 1, "description": "another salt chooses other nodes"}
    return _object({"percent": percent, "salt": salt}, required=["percent"])


def _part() -> Schema:
    part = _object(
        {
            "services": _service_set(),
            "percent": {"type": "integer", "minimum": 0, "maximum": WHOLE, "description": "per cent"},
            "count": {"type": "integer", "minimum": 0, "description": "PFs"},
            "pfs": _some(_address()),
            "numaNodes": _some({"type": "integer", "minimum": 0}),
            "families": _some({"enum": [family.name for family in FAMILIES]}),
        },
        required=["services"],
    )
    return {**part, "not": {"required": ["percent", "count"]}}


def _address() -> Schema:
    return {"type": "string", "pattern": f"^{SHAPE.pattern}$"}
