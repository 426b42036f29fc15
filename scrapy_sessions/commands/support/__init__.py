"""What the subcommands share: arguments, context, tables and text."""
