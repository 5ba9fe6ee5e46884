"""The way in: a safe moment, Frida or a borrowed thread; and a command held at both its ends."""
