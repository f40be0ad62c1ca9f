"""How real docks differ from DJI's pages, and what may happen to one: each entry is selectable by its name."""

# A habit is correct behaviour, unlike a misbehaviour (bad form) and a fault (bad answer to a command).

from collections.abc import Iterable

HABITS = {
    "topology-first": "sends its topology when it connects, before it binds, and not again until its aircraft changes",
    "no-topology": "never sends a topology; only its osd names its aircraft",
    "bound-alone": "asks to bind only itself; its topology and its osd name its aircraft",
    "no-domain": "update_topo has no domain, neither at the top nor in its sub-devices",
    "thing-status": "update_topo goes to thing/product/{sn}/status instead of sys/product/{sn}/status",
    "product-type": "sub_device in its osd has product_type instead of device_model_key, as that of every Dock 1",
    "shared-aircraft": "two docks of a fleet have one aircraft; it reports through the first of them where it is on",
    "replaced-aircraft": "gets another aircraft (the dock's serial number and B) when it is onboarded",
    "reconnects": "loses its connection every minute",
    "subscribes-to-more": "asks in one message for its topics and one of another dock, which the broker may deny",
    "last-will": "has a last will: an update_topo without tid that says offline",
}
WITHOUT_TOPOLOGY = {"topology-first", "no-domain", "thing-status"}  # make no sense in a dock with no-topology


def read_habits(names: Iterable[str]) -> frozenset[str]:
    """The habits by these names; raises ValueError for an unknown one and for two that exclude each other."""
    chosen = frozenset(names)
    for name in sorted(chosen - set(HABITS)):
        raise ValueError(f"Unknown habit {name!r}: expected one of {', '.join(HABITS)}.")
    clash = sorted(chosen & WITHOUT_TOPOLOGY)
    if clash and "no-topology" in chosen:
        raise ValueError(f"The habit no-topology cannot be combined with {clash[0]}.")
    return chosen
