"""The onboarding sheet and its QR code."""

import segno

from organizations.admin import onboarding_sheet


def test_the_path_draws_every_dark_module_once():
    text = "Organization ID: 12345678\nDevice binding code: ABCD-EFGH-JKLM"
    code = onboarding_sheet.qr_code(text)
    drawn = set()
    for bar in code.path.removeprefix("M").split("M"):
        start, length = bar.split("h")[0], int(bar.split("h")[1].removesuffix("v1"))
        x, y = map(int, start.split())
        drawn |= {(x + step - 4, y - 4) for step in range(length)}
    matrix = segno.make(text, error="m", micro=False).matrix
    assert drawn == {(x, y) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark}
    assert code.size == len(matrix) + 8


def test_a_run_of_dark_modules_is_one_bar():
    matrix = segno.make("A1", error="m", micro=False).matrix
    runs = sum(len(bytes(row).replace(b"\0", b" ").split()) for row in matrix)
    assert onboarding_sheet.qr_code("A1").path.count("M") == runs


def test_what_is_not_set_is_missing_and_not_in_the_qr_code(code, settings):
    settings.DOCK_MQTT_URL = settings.DOCK_MQTT_USERNAME = settings.DOCK_MQTT_PASSWORD = ""
    sheet = onboarding_sheet.sheet(*code)
    assert sheet.missing == ["DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD"]
    known = f"Organization ID: 12345678\nDevice binding code: {code[1]}"
    assert sheet.qr == onboarding_sheet.qr_code(known)
