"""What an operator can observe. In reading order:

metrics           counters and latencies for Prometheus
replica_status    what a replica reports about itself
timing            where the time of a request goes
request_log       one line of JSON per request
"""
