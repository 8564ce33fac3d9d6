// SPDX-License-Identifier: Apache-2.0
/*
 * Goes through the PCI bus and asks for all that a scan needs. It decides what to ask next and
 * nothing else; what the answers mean is decided in src/qatdp/host/scanner.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "answers.h"
#include "names.h"
#include "qatdp.h"

struct scan {
	struct qatdp_answers *answers;
	const char *sysfs, *dev;
	uint32_t vendor;
	const struct qatdp_model *models;
	uint32_t count;
	struct folder devices, groups, nodes;
	int error; /* it can only be a lack of room; nothing more is asked then */
};

/* A PCI function, and its folder while it is asked about. */
struct function {
	const char *address;
	struct folder folder;
};

typedef const struct qatdp_answer answer;

static const struct folder here = { .descriptor = AT_FDCWD };

static struct folder open_folder(const struct folder *in, const char *path, size_t length)
{
	struct folder folder = { .error = in->error, .length = length };

	if (!folder.error) {
		folder.descriptor = openat(in->descriptor, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		folder.error = folder.descriptor < 0 ? -errno : 0;
	}
	return folder;
}

static struct folder open_root(const char *root, const char *below)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s%s/", root, below);

	if ((size_t)length >= sizeof(path))
		return (struct folder){ .error = -ENAMETOOLONG };
	return open_folder(&here, path, (size_t)length);
}

static void close_folder(const struct folder *folder)
{
	if (!folder->error)
		close(folder->descriptor);
}

static answer *ask(struct scan *scan, const struct folder *folder, enum qatdp_kind kind,
		   const char *format, ...) __attribute__((format(printf, 4, 5)));

static answer *ask(struct scan *scan, const struct folder *folder, enum qatdp_kind kind,
		   const char *format, ...)
{
	static answer none = { .status = -ENOBUFS };
	answer *found = &none;
	va_list arguments;

	if (scan->error)
		return &none;
	va_start(arguments, format);
	scan->error = answers_ask(scan->answers, folder, kind, &found, format, arguments);
	va_end(arguments);
	return found;
}

/* Ask about something of a PCI function that is open. */
static answer *ask_of(struct scan *scan, const struct function *function, enum qatdp_kind kind,
		      const char *name)
{
	return ask(scan, &function->folder, kind, "%sbus/pci/devices/%s/%s", scan->sysfs,
		   function->address, name);
}

/* Ask about one thing of a PCI function, for which it need not be opened. */
static answer *ask_device(struct scan *scan, enum qatdp_kind kind, const char *address,
			  const char *name)
{
	return ask(scan, &scan->devices, kind, "%sbus/pci/devices/%s/%s", scan->sysfs, address,
		   name);
}

/* What came back: empty where nothing did. It stays where it is. */
static const char *text_of(const struct scan *scan, answer *found)
{
	return found->status ? "" : scan->answers->text + found->data;
}

/* Go through a listing. */
static const char *first(const struct scan *scan, answer *listing)
{
	return listing->length ? text_of(scan, listing) : NULL;
}

static const char *next(const struct scan *scan, answer *listing, const char *name)
{
	name += strlen(name) + 1;
	return name < text_of(scan, listing) + listing->length ? name : NULL;
}

static void ask_cdevs(struct scan *scan, const struct function *vf)
{
	answer *cdevs = ask_of(scan, vf, QATDP_LIST, "vfio-dev");

	for (const char *name = first(scan, cdevs); name; name = next(scan, cdevs, name)) {
		ask(scan, &vf->folder, QATDP_EXISTS, "%sbus/pci/devices/%s/vfio-dev/%s/dev",
		    scan->sysfs, vf->address, name);
		ask(scan, &scan->nodes, QATDP_EXISTS, "%svfio/devices/%s", scan->dev, name);
	}
}

static void ask_group(struct scan *scan, const char *number)
{
	answer *members;

	ask(scan, &scan->groups, QATDP_READ, "%skernel/iommu_groups/%s/name", scan->sysfs, number);
	ask(scan, &scan->nodes, QATDP_EXISTS, "%svfio/%s", scan->dev, number);
	ask(scan, &scan->nodes, QATDP_EXISTS, "%svfio/noiommu-%s", scan->dev, number);
	members = ask(scan, &scan->groups, QATDP_LIST, "%skernel/iommu_groups/%s/devices",
		      scan->sysfs, number);
	for (const char *name = first(scan, members); name; name = next(scan, members, name))
		if (is_address(name))
			ask_device(scan, QATDP_LINK, name, "driver");
}

static struct function open_function(const struct scan *scan, const char *address)
{
	size_t length = scan->devices.length + strlen(address) + 1;

	return (struct function){ address, open_folder(&scan->devices, address, length) };
}

static void ask_vf(struct scan *scan, const char *address)
{
	uint32_t before = scan->answers->count;
	struct function vf;
	const char *group;

	/* Nobody else asks for this link: if it is known so is the rest, by the link of its PF. */
	ask_device(scan, QATDP_LINK, address, "physfn");
	if (scan->answers->count == before)
		return;
	vf = open_function(scan, address);
	ask_of(scan, &vf, QATDP_LINK, "driver");
	ask_of(scan, &vf, QATDP_READ, "numa_node");
	ask_cdevs(scan, &vf);
	group = text_of(scan, ask_of(scan, &vf, QATDP_LINK, "iommu_group"));
	close_folder(&vf.folder);
	if (is_decimal(group))
		ask_group(scan, group);
}

/* A VF whose ids cannot be read is known by the link of its PF. */
static void ask_linked_vf(struct scan *scan, const struct function *pf, const char *virtfn)
{
	const char *vf = text_of(scan, ask_of(scan, pf, QATDP_LINK, virtfn));
	answer *there;

	if (!is_address(vf))
		return;
	there = ask(scan, &scan->devices, QATDP_EXISTS, "%sbus/pci/devices/%s", scan->sysfs, vf);
	if (!there->status)
		ask_vf(scan, vf);
}

static void ask_pf(struct scan *scan, const char *address, const char *driver)
{
	struct function pf = open_function(scan, address);
	answer *names =
		ask(scan, &pf.folder, QATDP_LIST, "%sbus/pci/devices/%s", scan->sysfs, address);

	for (const char *name = first(scan, names); name; name = next(scan, names, name))
		if (is_virtfn(name))
			ask_linked_vf(scan, &pf, name);
	ask_of(scan, &pf, QATDP_LINK, "driver");
	ask_of(scan, &pf, QATDP_READ, "numa_node");
	ask_of(scan, &pf, QATDP_READ, "sriov_totalvfs");
	ask_of(scan, &pf, QATDP_READ, "qat/state");
	ask_of(scan, &pf, QATDP_READ, "qat/auto_reset");
	/* Kernels before 6.0 have no cfg_services. */
	if (driver[0] && ask_of(scan, &pf, QATDP_READ, "qat/cfg_services")->status)
		ask(scan, &here, QATDP_READ, "%skernel/debug/qat_%s_%s/dev_cfg", scan->sysfs,
		    driver, address);
	close_folder(&pf.folder);
}

static int64_t ask_number(struct scan *scan, const char *address, const char *name)
{
	answer *found = ask_device(scan, QATDP_READ, address, name);
	int64_t value = -1;

	is_number(text_of(scan, found), found->length, &value);
	return value;
}

static const struct qatdp_model *ask_model(struct scan *scan, const char *address)
{
	int64_t device;

	if (ask_number(scan, address, "vendor") != scan->vendor)
		return NULL;
	device = ask_number(scan, address, "device");
	for (uint32_t i = 0; i < scan->count; i++)
		if (scan->models[i].device == device)
			return &scan->models[i];
	return NULL;
}

static void ask_bus(struct scan *scan)
{
	answer *functions = ask(scan, &scan->devices, QATDP_LIST, "%sbus/pci/devices", scan->sysfs);
	const struct qatdp_model *model;
	const char *name;

	/* All ids first: of what goes meanwhile, less is seen. */
	for (name = first(scan, functions); name; name = next(scan, functions, name))
		if (is_address(name))
			ask_model(scan, name);
	for (name = first(scan, functions); name; name = next(scan, functions, name)) {
		model = is_address(name) ? ask_model(scan, name) : NULL;
		if (model && model->is_pf)
			ask_pf(scan, name, model->driver);
		else if (model)
			ask_vf(scan, name);
	}
}

int qatdp_bus(struct qatdp_answers *answers, const char *sysfs, const char *dev, uint32_t vendor,
	      const struct qatdp_model *models, uint32_t count)
{
	struct scan scan = {
		.answers = answers,
		.sysfs = sysfs,
		.dev = dev,
		.vendor = vendor,
		.models = models,
		.count = count,
		.devices = open_root(sysfs, "bus/pci/devices"),
		.groups = open_root(sysfs, "kernel/iommu_groups"),
		.nodes = open_root(dev, "vfio"),
		.error = answers_begin(answers),
	};

	ask(&scan, &here, QATDP_LIST, "%sbus/pci/drivers", sysfs);
	ask_bus(&scan);
	close_folder(&scan.nodes);
	close_folder(&scan.groups);
	close_folder(&scan.devices);
	return scan.error;
}
