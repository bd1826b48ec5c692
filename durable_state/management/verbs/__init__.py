"""The verbs of the command, by what they are about; each module's ``define`` adds its own."""
