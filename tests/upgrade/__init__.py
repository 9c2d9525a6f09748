"""Projects that older versions wrote, opened by this one."""
