"""Why a device does what it does: its onboarding, its journal, its needs."""
