"""How the docks of the demo live."""

from cloudapi.embedded import demo


def test_their_aircraft_are_off_most_of_the_time_but_on_until_the_schedule_has_read_their_licenses(settings):
    options = demo.make_fleet("mqtt://127.0.0.1", 3).docks[0].options
    assert options.aircraft_on_for * 5 < options.aircraft_off_for
    assert options.aircraft_stays_on > settings.CELERY_BEAT_SCHEDULE["synchronize_licenses"]["schedule"]
