"""The onboarding sheet and its QR code."""

from organizations import onboarding_sheet


def test_a_run_of_dark_modules_is_one_bar():
    assert list(onboarding_sheet._runs(bytearray([0, 1, 1, 0, 1]))) == [(1, 2), (4, 1)]


def test_the_path_draws_every_dark_module_once():
    import segno

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


def test_what_is_not_set_is_missing_and_not_in_the_qr_code(code, settings):
    settings.DOCK_MQTT_URL = settings.DOCK_MQTT_USERNAME = settings.DOCK_MQTT_PASSWORD = ""
    sheet = onboarding_sheet.sheet(*code)
    assert sheet.missing == ["DOCK_MQTT_URL", "DOCK_MQTT_USERNAME", "DOCK_MQTT_PASSWORD"]
    known = f"Organization ID: 12345678\nDevice binding code: {code[1]}"
    assert sheet.qr == onboarding_sheet.qr_code(known)
