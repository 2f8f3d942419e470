#include "config.h"
#include <greenarrow/service/resolver.h>
#include "net/dns.h"
bool gac_dns_init(const struct gac_core_conf *c, char *err, size_t room){(void)c;(void)err;(void)room;return true;}
void gac_dns_start(void){}
void gac_dns_stop(void){}
bool ga_dns_mx(struct ga_str r, uint16_t *p, char *h, size_t n){(void)r;(void)p;(void)h;(void)n;return false;}
bool ga_dns_address(struct ga_str r, unsigned t, struct ga_sockaddr *a){(void)r;(void)t;(void)a;return false;}
