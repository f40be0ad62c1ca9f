"""Every way of writing a row sets the time of its last change."""

from datetime import timedelta

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone

from devices.models import BrokerAccount, Device, ServiceCall, ServiceCallBatch
from licenses.models import UnlockLicense
from organizations.changing import ChangingModel, ChangingQuerySet
from organizations.models import BindingCode, Organization
from tests.ages import age, moved
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

# Every model that says when it last changed, with a text of its own.
TEXTS = {
    Organization: "name",
    BindingCode: "label",
    Device: "callsign",
    BrokerAccount: "label",
    ServiceCallBatch: "note",
    ServiceCall: "note",
    UnlockLicense: "note",
}


def _over(row, field):
    type(row).objects.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=[field])


def _base(row, field):
    type(row)._base_manager.filter(pk=row.pk).update(**{field: "new"})


WAYS = {
    "save": lambda row, field: row.save(),
    "save of one field": lambda row, field: row.save(update_fields=[field]),
    "update": lambda row, field: type(row).objects.filter(pk=row.pk).update(**{field: "new"}),
    "update by F": lambda row, field: type(row).objects.update(**{field: Concat(F(field), Value("!"))}),
    "update or create": lambda row, field: type(row).objects.update_or_create({field: "new"}, pk=row.pk),
    "update of the base manager": _base,
    "bulk update": lambda row, field: type(row).objects.bulk_update([row], [field]),
    "upsert": _over,
    "write of fields": lambda row, field: type(row).objects.write_fields([row], [field]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_every_way_of_writing_moves_the_moment(model, way):
    row = model.objects.order_by("pk").first()
    age(row)
    setattr(row, TEXTS[model], "new")
    WAYS[way](row, TEXTS[model])
    fresh = model.objects.get(pk=row.pk)
    assert getattr(fresh, TEXTS[model]).endswith(("new", "!"))
    assert timezone.now() - fresh.updated < timedelta(minutes=1)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_whoever_writes_the_moment_is_not_overruled(model):
    row = model.objects.order_by("pk").first()
    age(row)
    model.objects.bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=["updated"])
    model.objects.bulk_update([row], ["updated"])
    assert not moved(row)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("model", TEXTS, ids=lambda model: model.__name__)
def test_writing_nothing_moves_nothing(model):
    row = model.objects.order_by("pk").first()
    age(row)
    model.objects.update()
    row.save(update_fields=[])
    assert not moved(row)


def test_the_table_names_every_model_and_each_has_the_manager():
    assert set(ChangingModel.__subclasses__()) == set(TEXTS)
    managed = [model._default_manager.all() for model in TEXTS] + [model._base_manager.all() for model in TEXTS]
    assert all(isinstance(rows, ChangingQuerySet) for rows in managed)
