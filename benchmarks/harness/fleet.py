"""A fleet of full size in PostgreSQL, made by the database itself: millions of rows in a minute or two.

Rows are numbered, and what they refer to is computed from their numbers: dock n has aircraft `docks + n`, the first
`large` docks belong to organization 1. Columns that are not named here get their field's default.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection, models

PROPERTIES = "(SELECT jsonb_object_agg('field_' || f, repeat(chr(97 + f % 26), 20)) FROM generate_series(1, 85) f)"
STATUSES = (
    "CASE WHEN n % 100 < 94 THEN 'succeeded' ELSE (ARRAY['failed','rejected','timed_out','expired'])[1 + n % 4] END"
)
METHODS = (
    "(ARRAY['unlock_license_list','unlock_license_switch','unlock_license_update','login_dji_account'])[1 + n % 4]"
)
EXCHANGED = (
    "(ARRAY['config','update_topo','unlock_license_list','login_dji_account',"
    "'airport_bind_status','update_topo','unlock_license_switch','flighttask_progress'])[1 + n % 8]"
)


class Table(NamedTuple):
    """How many rows of a model, and the SQL of their columns; `n` is a row's number, from 1 on."""

    model: str
    rows: int
    columns: dict[str, str]


# fmt: off
def tables(scale: float) -> Iterator[Table]:
    """What a fleet of 10,000 docks and as many aircraft has, times `scale`; a row's references come before it."""

    def times(count: int, least: int = 1) -> int:
        return max(least, round(count * scale))

    docks, organizations, users = times(10_000), times(1000, 60), times(2000, 200)
    large, bound, calls, batches = times(3000), times(9800), times(1_000_000), times(2000)
    licenses, files, codes, keys = times(100_000), organizations, times(10_000), 2 * organizations

    def owner(dock: str) -> str:
        return f"CASE WHEN {dock} <= {large} THEN 1 WHEN {dock} <= {bound} THEN 2 + {dock} % {organizations - 1} END"

    def ago(rows: int, days: int) -> str:
        return f"now() - n * (interval '{days} days' / {rows})"

    # Of an organization's two sites, and of its two labels, that of this number.
    def grouped(dock: str) -> str:
        return f"({owner(dock)}) - 1 + {organizations} * (1 + n % 2)"

    any_dock, bound_dock = f"(1 + (n::bigint * 7919) % {docks})", f"(1 + (n::bigint * 7919) % {bound})"
    an_organization = f"1 + n % {organizations}"

    yield Table("auth.User", users, {
        "username": "'person' || n", "password": "'!'", "email": "'person' || n || '@example.org'",
        "is_staff": "true", "is_active": "true", "date_joined": "now()",
    })
    yield Table("organizations.Organization", organizations, {
        "organization_id": "(10000000 + n)::text", "name": "'Organization ' || n", "device_limit": "NULL",
    })
    yield Table("organizations.Membership", users, {
        "user_id": "n", "organization_id": an_organization,
        "role": "(ARRAY['viewer','operator','manager'])[1 + n % 3]",
    })
    yield Table("organizations.BindingCode", codes, {
        "organization_id": an_organization, "label": "'site ' || n", "digest": "md5(n::text)", "hint": "'ABCD'",
        "expires_at": "now() + (n % 60 - 55) * interval '1 day'", "max_uses": "10", "uses": "n % 11",
        "created": ago(codes, 300),
    })
    yield Table("organizations.OrganizationAPIKey", keys, {
        "organization_id": an_organization, "name": "'key ' || n", "prefix": "'p' || n", "hashed_key": "md5(n::text)",
    })
    yield Table("organizations.Invitation", times(5000), {
        "organization_id": an_organization, "username": "'new' || n", "digest": "md5(n::text)",
        "expires_at": ago(times(5000), 700),
    })
    yield Table("organizations.BindingFailure", times(100_000), {
        "gateway_sn": "'STRANGER' || n % 5000", "organization_id_tried": "(10000000 + n % 1000)::text",
        "pair_digest": "md5(n::text)", "reason": "'no such code'", "last_at": ago(times(100_000), 30),
    })
    yield Table("organizations.AuditEvent", times(500_000), {
        "at": ago(times(500_000), 700), "organization_id": owner(any_dock), "user_id": f"1 + n % {users}",
        "through": "'admin'", "action": "(ARRAY['change','bind','release'])[1 + n % 3]",
        "object_type": "'devices.Device'", "object_id": f"{any_dock}::text", "object_name": f"'DOCK' || {any_dock}",
        "request_id": "md5(n::text)::uuid",
    })
    yield Table("organizations.IdempotentAnswer", times(100_000), {
        "principal": "'key:' || n % 2000", "key": "md5(n::text)", "fingerprint": "md5(n::text)", "status": "201",
        "body": "repeat('x', 500)",
    })
    yield Table("organizations.FileJob", times(5000), {
        "organization_id": an_organization, "kind": "'export'", "table": "'devices'", "format": "'csv'",
        "status": "'succeeded'", "result": "decode(repeat('00', 20000), 'hex')", "requested_by_id": f"1 + n % {users}",
        "created": ago(times(5000), 7),
    })
    yield Table("organizations.UserSession", times(20_000), {
        "session_key": "md5(n::text)", "user_id": f"1 + n % {users}", "session_data": "''", "address": "'127.0.0.1'",
        "browser": "'a browser'", "expire_date": "now() + interval '10 days'",
    })
    for log in ("AccessAttempt", "AccessLog", "AccessFailureLog"):
        yield Table(f"axes.{log}", times(50_000), {
            "attempt_time": ago(times(50_000), 90), "username": "'person' || n % 2000", "ip_address": "'127.0.0.1'",
            "user_agent": "'browser' || n", "failures_since_start": "1",
        })
    yield Table("devices.Site", 3 * organizations, {
        "organization_id": an_organization, "name": "'Site ' || n", "time_zone": "'Asia/Shanghai'",
    })
    yield Table("devices.Label", 3 * organizations, {"organization_id": an_organization, "name": "'Label ' || n"})
    yield Table("devices.DeviceLabel", bound, {"device_id": "n", "label_id": grouped("n")})
    yield Table("devices.Device", 2 * docks, {
        "sn": f"CASE WHEN n <= {docks} THEN '7CTDM' ELSE '1581F' END || lpad(n::text, 9, '0')",
        "model_key": f"CASE WHEN n <= {docks} THEN '3-2-0' ELSE '0-91-0' END",
        "organization_id": owner(f"((n - 1) % {docks} + 1)"), "callsign": "'Pier ' || n * 7 % 10007",
        "gateway_id": f"CASE WHEN n > {docks} THEN n - {docks} END",
        "claim": f"CASE WHEN n <= {docks} THEN 'code' ELSE 'named' END", "is_enabled": "n % 500 <> 0",
        "site_id": grouped(f"((n - 1) % {docks} + 1)"),
        "bound_at": f"CASE WHEN (n - 1) % {docks} < {bound} THEN now() - interval '10 days' END",
        "created": ago(2 * docks, 400), "updated": ago(2 * docks, 400),
    })
    yield Table("devices.DeviceState", 2 * docks, {
        "device_id": "n", "online": "n % 20 > 0", "last_seen": "now() - n % 20 * interval '1 second'",
        "connected_since": "now() - interval '1 hour'", "firmware_version": "'10.01.' || n % 40",
        "latitude": "n % 80", "longitude": "n % 170", "mode_code": "0", "properties": PROPERTIES,
        "clock_skew_ms": "CASE WHEN n % 300 = 0 THEN 900000 ELSE 5 END",
    })
    yield Table("devices.Pairing", 5 * docks, {
        "dock_id": f"1 + (n - 1) % {docks}", "aircraft_id": f"{docks} + 1 + (n - 1 + (n - 1) / {docks}) % {docks}",
        "since": ago(5 * docks, 500),
        "until": f"CASE WHEN n > {docks} THEN {ago(5 * docks, 500)} + interval '1 hour' END", "witness": "'topology'",
        "changed_at": "now()",
    })
    yield Table("devices.DeviceAccount", docks, {
        "device_id": "n", "username": "'pilot' || n",
        "status": "(ARRAY['logged_in','logged_in','logged_in','failed','logged_out'])[1 + n % 5]",
    })
    yield Table("devices.BrokerAccount", docks, {
        "username": "'dock' || n", "kind": "'dock'", "device_id": "n", "organization_id": owner("n"),
        "digest": "md5(n::text)", "salt": "'x'", "created": ago(docks, 300),
        "last_connected_at": "CASE WHEN n % 3 > 0 THEN now() - n * interval '1 minute' END",
        "revoked_at": "CASE WHEN n % 10 = 0 THEN now() END",
    })
    yield Table("devices.ServiceCallBatch", batches, {
        "id": "md5('batch' || n)::uuid", "organization_id": an_organization, "method": "'unlock_license_list'",
        "requested_by_id": f"1 + n % {users}", "created": ago(batches, 90), "updated": ago(batches, 90),
    })
    yield Table("devices.ServiceCall", calls, {
        "id": "md5('call' || n)::uuid", "device_id": bound_dock, "organization_id": owner(bound_dock),
        "method": METHODS, "subject": "'subject' || n", "tid": "md5('tid' || n)", "bid": "md5('bid' || n)",
        "status": f"CASE WHEN n <= {times(3000)} THEN 'sent' ELSE {STATUSES} END",
        "requested_by_id": f"1 + n % {users}", "created": ago(calls, 90), "updated": ago(calls, 90),
        "batch_id": f"CASE WHEN n % 2 = 0 THEN md5('batch' || 1 + n / 2 % {batches})::uuid END",
        "retry_of_id": f"CASE WHEN n % 100 = 0 AND n + 50 < {calls} THEN md5('call' || n + 50)::uuid END",
        "sent": ago(calls, 90), "closed": f"CASE WHEN n > {times(3000)} THEN {ago(calls, 90)} END",
        "expires": ago(calls, 90), "deadline": ago(calls, 90),
    })
    yield Table("devices.ServiceCallEvent", 2 * calls, {
        "call_id": f"md5('call' || 1 + n % {calls})::uuid", "version": f"1 + n / {calls}", "at": "now()",
        "source": "'issued'", "status": "'queued'",
    })
    # Each of a dock's licenses in both inventories.
    yield Table("licenses.UnlockLicense", licenses, {
        "device_id": f"1 + (n - 1) / 2 % {docks}", "device_model_domain": "CASE WHEN n % 2 = 0 THEN 0 ELSE 3 END",
        "license_id": f"1000000 + (n - 1) / 2 + (n - 1) / 2 / {docks} * {docks}",
        "name": "'Harbour zone ' || n % 1000", "type": "n / 2 % 7", "user_id": "'pilot'",
        "device_sn": f"'1581F' || lpad(({docks} + 1 + (n - 1) / 2 % {docks})::text, 9, '0')",
        "begin_time": "now() - n % 400 * interval '1 day'",
        "end_time": "now() + (n / 2 % 500 - 100) * interval '1 day'", "user_only": "n % 3 = 0",
        "enabled": "n / 2 % 5 < 4", "updated": ago(licenses, 100), "created": "now()",
        "details": """jsonb_build_object('radius', 500, 'latitude', n % 80, 'longitude', n % 170, 'height', 120)""",
        "in_other_inventory": "true",
        "west": "CASE WHEN n / 2 % 7 = 1 THEN n % 170 - 0.005 END",
        "south": "CASE WHEN n / 2 % 7 = 1 THEN n % 80 - 0.0045 END",
        "east": "CASE WHEN n / 2 % 7 = 1 THEN n % 170 + 0.005 END",
        "north": "CASE WHEN n / 2 % 7 = 1 THEN n % 80 + 0.0045 END",
        "raw": "jsonb_build_object('common_fields', jsonb_build_object('license_id', n, 'name', repeat('x', 300)))",
    })
    yield Table("licenses.LicenseList", 20 * docks, {
        "device_id": f"1 + (n - 1) % {docks}",
        "device_model_domain": f"CASE WHEN (n - 1) / {docks} % 2 = 0 THEN 0 ELSE 3 END", "consistence": "n % 50 > 0",
        "complete": "true", "count": "5", "asked_at": ago(20 * docks, 10), "fetched_at": ago(20 * docks, 10),
    })
    yield Table("licenses.LicenseEvent", 3 * licenses, {
        "device_id": bound_dock, "organization_id": owner(bound_dock), "device_model_domain": "0",
        "license_id": f"1000000 + n % {licenses}", "name": "'Harbour zone ' || n % 1000", "kind": "'appeared'",
        "at": ago(3 * licenses, 700),
    })
    yield Table("licenses.LicenseFile", files, {
        "organization_id": "n", "name": "n || '.kmz'", "md5": "md5(n::text)", "size": "20000",
        "content": "decode(repeat('00', 20000), 'hex')", "created": ago(files, 100),
    })
    yield Table("licenses.LicenseFileDownload", times(100_000), {
        "file_id": f"1 + n % {files}", "at": ago(times(100_000), 30), "sent": "20000", "outcome": "'finished'",
    })
    yield Table("mqtt_bridge.Exchange", times(1_000_000), {
        "gateway_sn": f"'7CTDM' || lpad({any_dock}::text, 9, '0')", "organization_id": owner(any_dock),
        "channel": "(ARRAY['requests','status','services_reply','events'])[1 + n % 4]",
        "method": EXCHANGED,
        "tid": "md5('tid' || n)", "bid": "md5('bid' || n)", "received_at": ago(times(1_000_000), 30),
        "payload": 'repeat(\'{"tid": "1"}\', 50)', "reply": 'repeat(\'{"tid": "1"}\', 10)',
        "outcome": "CASE WHEN n % 200 = 0 THEN 'quarantined' WHEN n % 10 = 0 THEN 'ignored' ELSE 'answered' END",
        "reason": "CASE WHEN n % 100 = 0 THEN 'no such code' ELSE '' END",
    })
    yield Table("mqtt_bridge.PassingEvent", 2 * docks, {
        "gateway_sn": "'7CTDM' || lpad((1 + n / 2)::text, 9, '0')", "organization_id": owner("(1 + n / 2)"),
        "method": "'hms' || n % 2", "count": "n", "first_at": "now() - interval '1 day'", "last_at": "now()",
    })


# fmt: on
def fill(scale: float, only: Collection[str] = ()) -> None:
    """Fill the empty tables of the current database, all or these, and tell the planner about it.

    Foreign keys are not checked, and indexes are made afterwards: both would take most of the time.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET maintenance_work_mem = '256MB'")
        for name, rows, columns in tables(scale):
            if not only or name in only:
                model = apps.get_model(name)
                cursor.execute(INDEXES, [model._meta.db_table])
                indexes = cursor.fetchall()
                for index, _ in indexes:
                    cursor.execute(f"DROP INDEX {index}")
                _insert(cursor, model, rows, columns)
                for _, definition in indexes:
                    cursor.execute(definition)
        cursor.execute("RESET ALL")
        # A test fills them in its transaction, where nothing can be vacuumed.
        cursor.execute("ANALYZE" if connection.in_atomic_block else "VACUUM ANALYZE")


# Of a table; without those that a constraint needs.
INDEXES = """SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"""

DEFAULTS: dict[str, Callable[[Any], str]] = {
    "CharField": lambda _: "''", "TextField": lambda _: "''", "JSONField": lambda _: "'{}'",
    "BooleanField": lambda _: "false", "DateTimeField": lambda _: "now()", "UUIDField": lambda _: "gen_random_uuid()",
}  # fmt: skip


def _insert(cursor: Any, model: type[models.Model], rows: int, columns: dict[str, str]) -> None:
    table, values = model._meta.db_table, {}
    for field in model._meta.concrete_fields:
        column, kind = str(field.column), field.get_internal_type()
        if column in columns:
            values[column] = columns[column]
        elif kind == "BigAutoField" or kind == "AutoField":
            values[column] = "n"
        elif isinstance(field.default, str | int | bool):
            values[column] = f"'{field.default}'"
        elif not field.null:
            values[column] = "'[]'" if field.default is list else DEFAULTS.get(kind, lambda _: "0")(field)
    names = ", ".join(f'"{name}"' for name in values)
    selected = f"SELECT {', '.join(values.values())} FROM generate_series(1, {rows}) n"  # noqa: S608 - all of it is ours
    cursor.execute(f"INSERT INTO {table} ({names}) {selected}")
    if values.get(str(model._meta.pk.column)) == "n" and model._meta.pk.get_internal_type().endswith("AutoField"):
        cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {rows})")


def members() -> dict[str, Any]:
    """Who opens the pages: platform staff, and members of one small, one large, three and 40 organizations.

    Each has chosen a time zone and saved a filter.
    """
    membership = apps.get_model("organizations.Membership")
    people: dict[str, Any] = {"staff": get_user_model().objects.create_superuser("bench-staff", password=None)}
    for name, organizations in {"small": [60], "large": [1], "three": [1, 2, 3], "forty": range(1, 41)}.items():
        people[name] = get_user_model().objects.create_user(f"bench-{name}", password=None, is_staff=True)
        membership.objects.bulk_create(
            membership(user=people[name], organization_id=number, role="manager") for number in organizations
        )
    for user in people.values():
        apps.get_model("organizations.Preference").objects.create(user=user, time_zone="Asia/Shanghai")
        page = {"page": "admin:devices_device_changelist", "query": "presence=offline"}
        apps.get_model("organizations.SavedFilter").objects.create(user=user, name="offline", **page)
    return people
