/* SPDX-License-Identifier: Apache-2.0 */
/* How the kernel writes what a scan decides by; qatdp/host/calls/kernel_names.py is the same in
 * Python. */
#ifndef NAMES_H
#define NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0000:6b:00.1: the one spelling of an address (drivers/pci/probe.c, pci_setup_device). */
bool is_address(const char *name);

/* virtfn<n> (drivers/pci/iov.c) */
bool is_virtfn(const char *name);

/* A number such as an IOMMU group's, nine digits at most. */
bool is_decimal(const char *name);

/* An attribute that holds a number, 0x... or decimal, with a newline or without. */
bool is_number(const char *text, size_t length, int64_t *value);

#endif
