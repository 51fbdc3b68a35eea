"""What makes a good dashboard a bad one, so that check.py can show that it finds it."""

import copy


def override(name, value):
    return [{"matcher": {"id": "byName", "options": "x"}, "properties": [{"id": name, "value": value}]}]


GONE = object()
OVERRIDES = "fieldConfig.overrides"
LINK = {"title": "x", "targetBlank": True, "href": "/d/x"}
# The kind of panel, if it is in one; what is changed there; what it becomes; what must be found.
BREAKS = [
    ("", "colour", "red", "$.colour: is not known"),
    ("", "schemaVersion", GONE, "$: has no schemaVersion"),
    ("", "version", "1", "$.version: is no int: '1'"),
    ("", "editable", 1, "$.editable: is no bool: 1"),
    ("", "graphTooltip", 7, "$.graphTooltip: is no DashboardCursorSync: 7"),
    ("", "tags", ["ka", 1], "$.tags[1]: is no str: 1"),
    ("", "description", None, "$.description: does not survive the SDK: None"),
    ("row", "colapsed", True, ".colapsed: is not known"),
    ("stat", "type", "stats", ".type: is no kind of panel: 'stats'"),
    ("stat", "gridPos.w", "wide", ".gridPos.w: is no int: 'wide'"),
    ("stat", "options.graphMode", "pie", ".options.graphMode: is no BigValueGraphMode: 'pie'"),
    ("stat", "fieldConfig.defaults.custom", {}, ".fieldConfig.defaults.custom: is not known"),
    ("stat", "fieldConfig.defaults.unit", "furlong", ".defaults.unit: is no unit: 'furlong'"),
    ("stat", "targets.0.format", "csv", ".targets[0].format: is no PromQueryFormat: 'csv'"),
    ("stat", "targets.0.expr", GONE, ".targets[0]: has no expr"),
    ("stat", "targets.0.datasource.type", "abacus", ".targets[0]: is no query"),
    ("timeseries", "options.legend.placment", "right", ".options.legend.placment: is not known"),
    ("timeseries", "fieldConfig.defaults.custom.lineWidth", "1", ".custom.lineWidth: is no float: '1'"),
    ("table", "transformations.0.option", {}, ".transformations[0].option: is not known"),
    ("table", OVERRIDES, override("unit", "furlong"), ".value(unit): is no unit: 'furlong'"),
    ("table", OVERRIDES, override("custom.align", 1), "(custom.align): is no FieldTextAlignment: 1"),
    ("table", OVERRIDES, override("custom.width_", 1), ".value(custom.width_): is not known"),
    ("table", OVERRIDES, override("links", [LINK]), ".value(links)[0].href: is not known"),
]


def broken(boards, kind, path, value):
    """The first of the dashboards that has such a panel, no longer good."""
    board = next(board for board in boards if any(kind in ("", panel["type"]) for panel in board["panels"]))
    board = copy.deepcopy(board)
    place = next(panel for panel in board["panels"] if panel["type"] == kind) if kind else board
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return board
