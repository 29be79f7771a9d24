"""Language models and encoders: loading them, adapters, whose weights answer. torch is imported by the modules in here."""
