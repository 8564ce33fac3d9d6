// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "../qatdp.h"
#include "check.h"

/* As large as it may be and no larger: a sanitizer sees each byte too many. */
static char *content;

static int read_it(const char *path)
{
	return qatdp_read(QATDP_HERE, path, content, QATDP_READ_BYTES);
}

static void check_read(void)
{
	char page[QATDP_READ_BYTES + 1];

	memset(page, 'x', sizeof(page));
	page[QATDP_READ_BYTES] = '\0';
	put("more", page);
	page[QATDP_ATTRIBUTE_BYTES] = '\0';
	put("page", page);
	CHECK(read_it("vendor") == 7 && !memcmp(content, "0x8086\n", 7));
	CHECK(read_it("page") == QATDP_ATTRIBUTE_BYTES);
	CHECK(read_it("more") == -EFBIG);
	CHECK(read_it("fifo") == -EINVAL && read_it(".") == -EINVAL &&
	      read_it("/dev/null") == -EINVAL);
	CHECK(read_it("absent") == -ENOENT && read_it("loop") == -ELOOP &&
	      read_it("vendor/x") == -ENOTDIR);
	CHECK(read_it("/proc/self/mem") == -EIO);
	CHECK(qatdp_read(QATDP_HERE, "vendor", content, QATDP_READ_BYTES - 1) == -ENOBUFS);
}

static void check_write(void)
{
	CHECK(qatdp_write(QATDP_HERE, "vendor", "0x1af4\n", 7) == 0);
	CHECK(read_it("vendor") == 7 && !memcmp(content, "0x1af4\n", 7));
	CHECK(qatdp_write(QATDP_HERE, "absent", "1", 1) == -ENOENT);
	CHECK(qatdp_write(QATDP_HERE, "fifo", "1", 1) == -ENXIO);
	CHECK(qatdp_write(QATDP_HERE, ".", "1", 1) == -EISDIR);
}

static int link_is(const char *path, const char *last)
{
	int length = qatdp_link(QATDP_HERE, path, content, QATDP_LINK_BYTES);

	return length == (int)strlen(last) && !memcmp(content, last, (size_t)length);
}

static void check_link(void)
{
	CHECK(link_is("driver", "vfio-pci") && link_is("loop", "loop") && link_is("slash", "") &&
	      link_is("dots", ".."));
	CHECK(qatdp_link(QATDP_HERE, "vendor", content, QATDP_LINK_BYTES) == -EINVAL);
	CHECK(qatdp_link(QATDP_HERE, "absent", content, QATDP_LINK_BYTES) == -ENOENT);
	CHECK(qatdp_link(QATDP_HERE, "driver", content, QATDP_LINK_BYTES - 1) == -ENOBUFS);
}

static void check_list(void)
{
	char name[32];
	char *names;
	int length = 0;

	for (int i = 0; i < 1000; i++) { /* more than one portion */
		snprintf(name, sizeof(name), "many/name%d", i);
		put(name, "");
		length += (int)strlen(name) - 4;
	}
	names = malloc((size_t)length);
	CHECK(names && qatdp_list(QATDP_HERE, "many", names, (size_t)length) == length &&
	      !names[length - 1]);
	CHECK(qatdp_list(QATDP_HERE, "many", names, (size_t)length - 1) == -ENOBUFS);
	free(names);
	CHECK(qatdp_list(QATDP_HERE, "vendor", content, 1) == -ENOTDIR);
	CHECK(qatdp_list(QATDP_HERE, "fifo", content, 1) == -ENOTDIR);
	CHECK(qatdp_list(QATDP_HERE, "absent", content, 1) == -ENOENT);
	mkdir("empty", 0755);
	CHECK(qatdp_list(QATDP_HERE, "empty", content, 0) == 0);
}

static void check_exists(void)
{
	CHECK(qatdp_exists(QATDP_HERE, "vendor") == 0 && qatdp_exists(QATDP_HERE, ".") == 0);
	CHECK(qatdp_exists(QATDP_HERE, "driver") == -ENOENT &&
	      qatdp_exists(QATDP_HERE, "loop") == -ELOOP);
}

int main(void)
{
	int before;

	enter_tree();
	put("vendor", "0x8086\n");
	put_link("driver", "../../drivers/vfio-pci");
	put_link("loop", "loop");
	put_link("slash", "nowhere/");
	put_link("dots", "..");
	CHECK(mkfifo("fifo", 0644) == 0);
	content = malloc(QATDP_READ_BYTES);
	CHECK(content);
	before = descriptors();
	check_read();
	check_write();
	check_link();
	check_list();
	check_exists();
	CHECK(descriptors() == before);
	free(content);
	return 0;
}
