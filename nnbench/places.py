"""What is fixed: where the shipped configuration lies, and which first words are commands of their own."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent  # installed from a wheel, or a clone
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"
COMMANDS = ("predict", "report", "status", "studies", "sync", "ui", "verify")
