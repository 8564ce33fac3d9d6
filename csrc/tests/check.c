// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "check.h"

#include <dirent.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/qatdp-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
	(void)status;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_tree(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void enter_tree(void)
{
	CHECK(mkdtemp(root));
	atexit(remove_tree);
	CHECK(chdir(root) == 0);
}

static void make_folders(const char *path)
{
	char folder[4096];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		mkdir(folder, 0755);
	}
}

void put(const char *path, const char *content)
{
	FILE *file;

	make_folders(path);
	file = fopen(path, "w");
	CHECK(file);
	CHECK(fputs(content, file) >= 0);
	CHECK(fclose(file) == 0);
}

void put_link(const char *path, const char *target)
{
	make_folders(path);
	CHECK(symlink(target, path) == 0);
}

int descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	CHECK(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}
