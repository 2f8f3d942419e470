/*
 * version.h - which GreenArrow this is
 */
#ifndef GAC_BASE_VERSION_H
#define GAC_BASE_VERSION_H

/* "0.1.0": what --version prints and peers are told */
const char *gac_version(void);

/* "0.1.0-0123456789ab": differs whenever a header in plugins-api differs */
const char *gac_build_id(void);

#endif
