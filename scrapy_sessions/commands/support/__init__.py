"""Arguments, context, tables and text of all subcommands."""
