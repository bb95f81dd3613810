"""What the archive of the sources holds of the lessons' pictures.

A lesson that runs leaves its pictures beside those that are tracked. Git tells
them apart by lessons/.gitignore; hatchling reads the .gitignore of the root alone.
"""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Pictures(BuildHookInterface):
    """Adds the pictures that lessons/.gitignore keeps."""

    def initialize(self, version, build_data):
        """Name them, where they lie and where they go."""
        lessons = Path(self.root, "lessons")
        rules = (lessons / ".gitignore").read_text(encoding="utf-8").splitlines()
        kept = [rule[1:] for rule in rules if rule.startswith("!")]
        for path in sorted(path for rule in kept for path in lessons.glob(rule)):
            name = path.relative_to(self.root).as_posix()
            build_data["force_include"][str(path)] = name
