#ifndef CORE_NET_DNS_H
#define CORE_NET_DNS_H
#include <stdbool.h>
#include <stddef.h>
struct gac_core_conf;
bool gac_dns_init(const struct gac_core_conf *, char *err, size_t room);
void gac_dns_start(void);
void gac_dns_stop(void);
#endif
