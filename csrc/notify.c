// SPDX-License-Identifier: Apache-2.0
/* A descriptor that can be read when something changes in folders: for event loops, to look at
 * once. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/inotify.h>

#include "qatdp.h"

int qatdp_notify(void)
{
	int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return descriptor < 0 ? -errno : descriptor;
}

int qatdp_notify_of(int descriptor, const char *folder)
{
	/* Also what is renamed: so Kubernetes swaps a ConfigMap, and editors write. */
	const uint32_t changes = IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVE;

	return inotify_add_watch(descriptor, folder, changes | IN_ONLYDIR) < 0 ? -errno : 0;
}
