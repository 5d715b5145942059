#!/bin/sh
# QoS of s4c-hpc for cluster example: 50 node(s), 1600 cores, 6.2 TiB.
# Written by 's4c slurm qos'; may be run again. Needs an operator of Slurm's accounting; of effect only where
# AccountingStorageEnforce in slurm.conf has 'limits' and 'qos'.
# DenyOnLimit: a job that could never start is refused at once. -1: no limit.
set -eu

sacctmgr -nP show qos format=name | grep -qxF s4c-default || sacctmgr -i add qos s4c-default
sacctmgr -nP show qos format=name | grep -qxF s4c-mdb || sacctmgr -i add qos s4c-mdb
sacctmgr -nP show qos format=name | grep -qxF s4c-lai || sacctmgr -i add qos s4c-lai
sacctmgr -nP show qos format=name | grep -qxF s4c-l4a || sacctmgr -i add qos s4c-l4a
sacctmgr -nP show qos format=name | grep -qxF s4c-s1-16g || sacctmgr -i add qos s4c-s1-16g
sacctmgr -nP show qos format=name | grep -qxF s4c-s1-32g || sacctmgr -i add qos s4c-s1-32g
sacctmgr -nP show qos format=name | grep -qxF s4c-s1-64g || sacctmgr -i add qos s4c-s1-64g

# s4c-default: whatever has no QoS of its own, the driver among it; no limit
sacctmgr -i modify qos where name=s4c-default set Priority=10 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=-1,mem=-1 MaxTRESPerJob=mem=-1

# s4c-mdb: marker database: mask, index, gather, stats, merge; three quarters of the cores
sacctmgr -i modify qos where name=s4c-mdb set Priority=20 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=1200,mem=-1 MaxTRESPerJob=mem=-1

# s4c-lai: biophysical variables (LAI, FAPAR, FCOVER); half of the cores
sacctmgr -i modify qos where name=s4c-lai set Priority=20 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=800,mem=-1 MaxTRESPerJob=mem=-1

# s4c-l4a: crop type (L4A); half of the cores
sacctmgr -i modify qos where name=s4c-l4a set Priority=30 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=800,mem=-1 MaxTRESPerJob=mem=-1

# s4c-s1-16g: Sentinel-1 jobs of up to 16 GiB; 50% of the memory, so that other work goes on
sacctmgr -i modify qos where name=s4c-s1-16g set Priority=40 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=-1,mem=3276800M MaxTRESPerJob=mem=16384M

# s4c-s1-32g: Sentinel-1 jobs of up to 32 GiB; 25% of the memory, so that other work goes on
sacctmgr -i modify qos where name=s4c-s1-32g set Priority=40 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=-1,mem=1638400M MaxTRESPerJob=mem=32768M

# s4c-s1-64g: Sentinel-1 jobs of up to 64 GiB; 10% of the memory, so that other work goes on
sacctmgr -i modify qos where name=s4c-s1-64g set Priority=40 Flags=DenyOnLimit GrpJobs=-1 GrpTRES=cpu=-1,mem=655360M MaxTRESPerJob=mem=65536M

# Who may use them.
sacctmgr -i modify user where name=anna account=agri cluster=example set qos+=s4c-default,s4c-mdb,s4c-lai,s4c-l4a,s4c-s1-16g,s4c-s1-32g,s4c-s1-64g
sacctmgr -i modify user where name=ben account=agri cluster=example set qos+=s4c-default,s4c-mdb,s4c-lai,s4c-l4a,s4c-s1-16g,s4c-s1-32g,s4c-s1-64g
