"""tf-deblur COMMAND …: the same as `python -m tf_deblur.COMMAND …`."""

import importlib
import sys

COMMANDS = {
    "deblur": ("tf_deblur.deblur", "restore blurred photographs"),
    "blur": ("tf_deblur.blur", "blur photographs, as a shaking hand does"),
    "train": ("tf_deblur.train", "train the networks, or go on with a training"),
    "evaluate": ("tf_deblur.evaluate", "score a trained network on a data set"),
    "export": ("tf_deblur.export.__main__", "write a SavedModel, and .tflite files for devices"),
    "serve": ("tf_deblur.serve", "serve a network over HTTP, with a page for photographs"),
}

USAGE = "\n".join(
    ["usage: tf-deblur COMMAND [--flag=value …] [file …]", ""]
    + [f"  {name:<10}{about}" for name, (_, about) in COMMANDS.items()]
    + ["", "`tf-deblur COMMAND --help` lists a command's flags."]
)


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    name = sys.argv.pop(1)
    if name == "--version":
        from tf_deblur import __version__

        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"error: {name}: no such command; use one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.argv[0] = f"tf-deblur {name}"
    return importlib.import_module(COMMANDS[name][0]).cli()


if __name__ == "__main__":
    sys.exit(main())
