"""What commands print, one module for each group of commands.

A view is a class that is told once whether a machine reads (``as_json``) and has a method for each thing that is shown.
It gets values, asks nothing of Kafka or Tinybird, and is the only place where its command prints.
"""
