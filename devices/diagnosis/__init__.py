"""Why a device does what it does: its onboarding, its journal, what about it needs a person."""
