// SPDX-License-Identifier: GPL-2.0-only
/* What iommufd needs of lib/interval_tree.c and Debian's kernel was built without: the kernel exports the rest itself. */
#include <linux/export.h>
#undef EXPORT_SYMBOL_GPL
#define EXPORT_SYMBOL_GPL(symbol)
#include "interval_tree.c"
