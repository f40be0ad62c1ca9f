"""`manage.py rotate_encryption_keys`: after it, only the first of FIELD_ENCRYPTION_KEYS is needed."""

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError

from organizations import encryption
from organizations.audit import Actor
from organizations.models import AuditEvent, FileJob


class Command(BaseCommand):
    """Encrypt everything again, field by field, while the server runs."""

    help = "Encrypt every stored secret by the first of FIELD_ENCRYPTION_KEYS, so that the later keys can go."

    def handle(self, *_args: object, **_options: object) -> None:
        """Exit status 1 if a value cannot be decrypted by any key."""
        actor, lost = Actor(AuditEvent.Through.COMMAND), 0
        for done in encryption.rotate():
            counts = {"encrypted_again": done.encrypted_again, "current": done.current, "lost": done.lost}
            self.stdout.write(f"{done.field}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
            lost += done.lost
            if done.encrypted_again or done.lost:
                model = done.field.model
                AuditEvent.objects.create(
                    request_id=actor.request_id,
                    through=actor.through,
                    action="rotate_key",
                    object_type=model._meta.label,
                    object_id="*",
                    object_name=str(done.field),
                    after=counts,
                )
        # Files that are shown once: bytes, few, and gone in a week. One that is fetched meanwhile stays gone.
        for key, file in FileJob.objects.filter(result__isnull=False).values_list("pk", "result"):
            try:
                again = encryption.cipher().rotate(bytes(file))
            except InvalidToken:
                lost += 1
                continue
            FileJob.objects.filter(pk=key, result=file).update(result=again)
        if lost:
            raise CommandError(f"{lost} values: no key of FIELD_ENCRYPTION_KEYS decrypts them. Keep the old keys.")
        self.stdout.write("Only the first key is needed now.")
