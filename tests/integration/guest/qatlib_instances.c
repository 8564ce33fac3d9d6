// SPDX-License-Identifier: Apache-2.0
/*
 * qatlib_instances - starts qatlib as any program would, and says which instances it has.
 *
 * One JSON object a line: {"event": "instance", "service": "cy", "address": "6d:00.1", "version": "..."}.
 * At the end {"event": "started", "status": N}: what icp_sal_userStart() returned, 0 where it is good.
 */
#include <cpa.h>
#include <cpa_cy_im.h>
#include <cpa_dc.h>
#include <icp_sal_user.h>
#include <stdio.h>

#define MAX_INSTANCES 64

struct service {
	const char *name;
	CpaStatus (*count)(Cpa16U *);
	CpaStatus (*get)(Cpa16U, CpaInstanceHandle *);
	CpaStatus (*info)(const CpaInstanceHandle, CpaInstanceInfo2 *);
};

static const struct service services[] = {
	{ "cy", cpaCyGetNumInstances, cpaCyGetInstances, cpaCyInstanceGetInfo2 },
	{ "dc", cpaDcGetNumInstances, cpaDcGetInstances, cpaDcInstanceGetInfo2 },
};

static void report(const struct service *service)
{
	CpaInstanceHandle instances[MAX_INSTANCES];
	Cpa16U count = 0;

	/* Of a service that no VF has, the count is an error. */
	if (service->count(&count) || !count || count > MAX_INSTANCES ||
	    service->get(count, instances))
		return;
	for (Cpa16U i = 0; i < count; i++) {
		CpaInstanceInfo2 info = { 0 };
		unsigned int bus;

		if (service->info(instances[i], &info))
			continue;
		bus = info.physInstId.busAddress; /* as in configuration requests: bus, device, function */
		printf("{\"event\": \"instance\", \"service\": \"%s\", \"address\": \"%02x:%02x.%x\", ",
		       service->name, bus >> 8, bus >> 3 & 0x1f, bus & 7);
		printf("\"version\": \"%s\"}\n", (const char *)info.swVersion);
	}
}

int main(void)
{
	CpaStatus status = icp_sal_userStart("SSL");

	if (!status) {
		for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
			report(&services[i]);
		icp_sal_userStop();
	}
	printf("{\"event\": \"started\", \"status\": %d}\n", status);
	return status != CPA_STATUS_SUCCESS;
}
