"""Stacks: which one, made and changed by Pulumi, checked, taken down."""
