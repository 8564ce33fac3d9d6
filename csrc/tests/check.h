/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests in C share: claims, and a tree of files to ask about. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(claim)                                                                               \
	do {                                                                                       \
		if (!(claim)) {                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);        \
			exit(EXIT_FAILURE);                                                        \
		}                                                                                  \
	} while (0)

/* Make an empty folder and work in it; it is removed at the end. */
void enter_tree(void);

/* These make the folders that they need. */
void put(const char *path, const char *content);
void put_link(const char *path, const char *target);

/* How many descriptors are open. */
int descriptors(void);

#endif
