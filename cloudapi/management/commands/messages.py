"""`manage.py messages`: bring the catalogues of translated texts up to date with the sources."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from organizations.language import catalogues


class Command(BaseCommand):
    help = "Reads every text that people see from the sources, adds new ones to the .po files, and compiles those."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if anything is missing")

    def handle(self, *_args: object, check: bool, **_options: object) -> None:
        wrong = []
        for app in catalogues.APPS:
            for domain in (catalogues.PAGES, catalogues.SCRIPTS):
                path = catalogues.path_of(app, domain)
                catalogue = catalogues.updated(app, domain)
                files = {path: catalogues.as_po(catalogue), path.with_suffix(".mo"): catalogues.as_mo(catalogue)}
                if not len(catalogue):
                    continue
                if check:
                    wrong += [
                        str(file)
                        for file, content in files.items()
                        if not file.exists() or file.read_bytes() != content
                    ]
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    for file, content in files.items():
                        file.write_bytes(content)
                missing = catalogues.untranslated(catalogue)
                self.stdout.write(f"{app} {domain.name}: {len(catalogue)} texts, {len(missing)} without a translation")
        if wrong:
            raise CommandError("not up to date, run `manage.py messages`: " + ", ".join(wrong))
