"""Holds Grafana's dashboards against Grafana's own model of them, its Foundation SDK.

    python3 check.py SDK_FOLDER DASHBOARD...

Twice: every value must have the type that the SDK declares for it (its readers check none), and a dashboard
that the SDK reads and writes again must still say all that it said. Then it is shown that faults of each kind
are found (breaks.py). The last line is "N passed, N failed, N skipped".
"""

import copy
import enum
import functools
import json
import pathlib
import re
import sys
import types
import typing
import warnings

sys.path.insert(0, sys.argv[1])
# The SDK prefers v2 resources, which Grafana 11 cannot import.
warnings.simplefilter("ignore", DeprecationWarning)
from grafana_foundation_sdk.cog import encoder, plugins, runtime, variants
from grafana_foundation_sdk.models import dashboard, units

import breaks

plugins.register_default_plugins()
UNITS = {unit for name, unit in vars(units).items() if not name.startswith("_") and type(unit) is str}

# Faults that are the SDK's and not ours: what they look like, and why they are none.
KNOWN = {
    r"\(links\)\[\d+\]: has no (asDropdown|icon|includeVars|keepTime|tags|tooltip|type)$":
        "a field's link is Grafana's DataLink, which the SDK takes for a link of the dashboard",
}


@functools.cache
def members(model):
    """The JSON names of a model's members, each with its type, and which of them are always written."""
    hints = typing.get_type_hints(model)
    blank, marked = model.__new__(model), model.__new__(model)
    for name in hints:
        setattr(blank, name, None)
        setattr(marked, name, name)
    return {key: hints[name] for key, name in marked.to_json().items()}, list(blank.to_json())


def faults(value, hint, place, kind=None):
    """What does not fit the type, each with its place. `kind` is the kind of the panel around it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        forms = [part for part in parts if (part is type(None)) == (value is None)] or parts
        nearest = min(strangeness(value, form) for form in forms)
        forms = [form for form in forms if strangeness(value, form) == nearest]
        return min((faults(value, form, place, kind) for form in forms), key=len)
    if hint is variants.Dataquery and isinstance(value, dict):
        source = value.get("datasource")
        source = str(source.get("type")) if isinstance(source, dict) else None
        query = runtime.Runtime().dataquery_variants.get(source)
        model = query and model_of(query.from_json_hook)
        return of_model(value, model, place, kind) if model else [f"{place}: is no query of a known source"]
    if hasattr(hint, "from_json") and isinstance(value, dict):
        return of_model(value, hint, place, kind)
    if origin is list and isinstance(value, list):
        lists = (faults(item, parts[0], f"{place}[{at}]", kind) for at, item in enumerate(value))
        return [fault for found in lists for fault in found]
    if origin is dict and isinstance(value, dict):
        lists = (faults(item, parts[1], f"{place}.{key}", kind) for key, item in value.items())
        return [fault for found in lists for fault in found]
    if origin is typing.Literal:
        fits = any(same(value, one) for one in parts)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        fits = any(same(value, one.value) for one in hint)
    else:
        fits = hint in (object, typing.Any) or type(value) is hint or (hint is float and type(value) is int)
    return [] if fits else [f"{place}: is no {hint.__name__ if isinstance(hint, type) else hint}: {value!r}"]


def strangeness(value, form):
    """Forms of a thing are told apart by their `type`: 0 if it is this one's, 2 if another's, 1 if unsaid."""
    if hasattr(form, "from_json") and isinstance(value, dict):
        hint = members(form)[0].get("type")
        if typing.get_origin(hint) is typing.Literal:
            return 0 if value.get("type") in typing.get_args(hint) else 2
    return 1


def of_model(value, model, place, kind):
    known, required = members(model)
    found = [f"{place}: has no {key}" for key in required if key not in value]
    if model is dashboard.Panel:
        kind = runtime.panelcfg_config(str(value.get("type")))
        if kind is None:
            return [f"{place}.type: is no kind of panel: {value.get('type')!r}"]
    for key, item in value.items():
        hint, here = known.get(key), f"{place}.{key}"
        if (model, key) == (dashboard.DynamicConfigValue, "value"):
            # An override sets a property of the field or, as `custom.NAME`, one of the panel's kind.
            whole = str(value.get("id"))
            key = whole.removeprefix("custom.")
            fields = dashboard.FieldConfig if key == whole else model_of(kind.field_config_from_json_hook)
            hint, here = fields and members(fields)[0].get(key), f"{here}({whole})"
        elif (model, key) == (dashboard.Panel, "options"):
            hint = model_of(kind.options_from_json_hook)
        elif (model, key) == (dashboard.FieldConfig, "custom"):
            hint = model_of(kind.field_config_from_json_hook)
        found += faults(item, hint, here, kind) if hint else [f"{here}: is not known"]
        if key == "unit" and isinstance(item, str) and item not in UNITS:
            found.append(f"{here}: is no unit: {item!r}")
    return found


def model_of(hook):
    """The model that a reader of the SDK reads; some kinds of panels have none."""
    return hook and hook.__self__


def same(one, other):
    """Equality that tells 1 from true, and not 1 from 1.0."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def lost(ours, theirs, place):
    """What was there before the SDK read and wrote it, and is not there any more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = [(f"{place}.{key}", item, theirs.get(key, KeyError)) for key, item in ours.items()]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(f"{place}[{at}]", *pair) for at, pair in enumerate(zip(ours, theirs))]
    else:
        return [] if same(ours, theirs) else [f"{place}: does not survive the SDK: {ours!r}"]
    return [fault for here, one, other in pairs for fault in lost(one, other, here)]


def check(board):
    """The faults of a dashboard, and those of them that are known to be the SDK's."""
    found, excused = [], set()
    for fault in faults(board, dashboard.Dashboard, "$"):
        known = {pattern for pattern in KNOWN if re.search(pattern, fault)}
        excused |= known
        found += [] if known else [fault]
    if not found:  # The SDK's readers fail on some wrong types, and say nothing of where.
        written = json.dumps(dashboard.Dashboard.from_json(copy.deepcopy(board)), cls=encoder.JSONEncoder)
        found = lost(board, json.loads(written), "$")
    for at, fault in enumerate(found):
        if panel := re.match(r"\$\.panels\[(\d+)\]", fault):
            panel = board["panels"][int(panel[1])]
            title = panel.get("title") if isinstance(panel, dict) else panel
            found[at] = f"panel {title!r}: {fault}"
    return found, excused


def main(files):
    boards = {file.name: json.loads(file.read_text()) for file in files}
    passed, failed, excused = 0, [], set()
    for name, board in boards.items():
        found, known = check(board)
        excused |= known
        failed += [f"{name}: {fault}" for fault in found]
        passed += not found
    failed += [f"known, but nowhere any more: {pattern}" for pattern in KNOWN.keys() - excused]
    for *change, words in breaks.BREAKS:
        found, _ = check(breaks.broken(boards.values(), *change))
        if len(found) == 1 and words in found[0]:
            passed += 1
        else:
            failed.append(f"self-test: expected {words!r}, found {found}")
    print(*failed, f"{passed} passed, {len(failed)} failed, 0 skipped", sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([pathlib.Path(file) for file in sys.argv[2:]]))
