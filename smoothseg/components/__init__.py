"""From an entry point to a loaded component: the installed plugins, what each offers under which name, and loading it.

Nothing here knows what a component is used for.

Private: its import paths may change without notice.
"""
