// SPDX-License-Identifier: Apache-2.0
/* Without VFIO: what comes back is an error, and nothing is left open. tests/integration/node asks
 * real groups.
 */
#include <errno.h>

#include "../qatdp.h"
#include "check.h"

int main(void)
{
	int before = descriptors();

	enter_tree();
	put("file", "");
	CHECK(qatdp_vfio_version("absent") == -ENOENT);
	CHECK(qatdp_vfio_extension("file", 1) == -ENOTTY);
	CHECK(qatdp_vfio_group("/dev/null") == -ENOTTY);
	CHECK(qatdp_vfio_group(".") == -EISDIR);
	CHECK(descriptors() == before);
	return 0;
}
