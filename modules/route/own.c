/*
 * own.c - which addresses are this machine's.
 *
 * Read once at start and at each reload: an MX that points to one of them would
 * send mail in a circle.  Also whether the machine can reach IPv6 hosts at all:
 * asking the kernel for a route sends nothing.
 */
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "route.h"

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct ga_sockaddr *own;
static size_t nown;
static _Atomic bool ipv6;

static bool
route_to_ipv6(void)
{
	struct ga_sockaddr to;
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && ga_sockaddr_parse(&to, GA_STR("2000::1"), 25) &&
	    connect(fd, &to.u.sa, to.len) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

static void
add(const struct sockaddr *sa)
{
	struct ga_sockaddr a = { .len = 0 };

	if (sa == NULL || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return;
	a.len = sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	memcpy(&a.u.ss, sa, a.len);
	own = ga_xrealloc(own, (nown + 1) * sizeof *own);
	own[nown++] = a;
}

void
rt_own_init(void)
{
	struct ifaddrs *list = NULL;

	pthread_rwlock_wrlock(&lock);
	nown = 0;
	if (getifaddrs(&list) == 0)
		for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
			add(i->ifa_addr);
	freeifaddrs(list);
	ipv6 = route_to_ipv6();
	pthread_rwlock_unlock(&lock);
}

void
rt_own_free(void)
{
	free(own);
	own = NULL;
	nown = 0;
}

bool
rt_own_address(const struct ga_sockaddr *a)
{
	bool yes = false;

	pthread_rwlock_rdlock(&lock);
	for (size_t i = 0; !yes && i < nown; i++)
		yes = ga_sockaddr_equal(&own[i], a, false);
	pthread_rwlock_unlock(&lock);
	return yes;
}

bool
rt_have_ipv6(void)
{
	return ipv6;
}
