"""What in a pool contradicts what: pure rules on facts that `agentcom.broker.fsck_store` reads."""
