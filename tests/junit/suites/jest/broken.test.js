throw new Error('no cluster');
