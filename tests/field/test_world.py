"""The world of this folder works: a dock binds over the broker, and an operator sees it."""


def test_a_dock_binds_and_an_operator_sees_and_releases_it(world):
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    world.topology(sn)
    world.osd(sn, mode_code=0)
    world.eventually(lambda: world.device(sn)["state"]["mode_code"] == 0)
    assert f"Callsign {sn}" in world.device_page(sn)
    world.post(f"devices/{sn}/release/")
    assert world.device(sn)["organization"] is None
